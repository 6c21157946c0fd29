"""Functions that are handed on instead of called."""

import functools
import operator
import os
import random
import time

from holdfast import workflow


def rank(name: str) -> float:
    return random.random() + len(name)  # expect: HF-A021


def shout(text: str) -> str:
    print(text)  # strict: HF-A029
    return text.upper()


@workflow
async def order(names: list[str]) -> list[str]:
    shown = list(map(shout, names))
    found = [value for value in map(os.getenv, names) if value]  # expect: HF-A025
    pause = functools.partial(time.sleep, 1)  # expect: HF-A024
    pause()
    table = {"clock": time.time, "add": operator.add}  # expect: HF-A020
    return sorted([*shown, *found, str(table)], key=rank)
