"""Workflows as documents: `DagSpec`, its checks, expressions and pictures. Pure: no clock, no I/O, no Temporal."""
