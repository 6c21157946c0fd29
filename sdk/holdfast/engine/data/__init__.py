"""How values travel: conversion, codecs, claim-check storage."""
