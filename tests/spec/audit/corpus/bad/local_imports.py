"""Imports inside functions, and modules by other names."""

import importlib
import time as t

from holdfast import workflow

clock = t.perf_counter


@workflow
async def measure() -> float:
    import random as chance
    from datetime import date

    start = clock()  # expect: HF-A020
    drawn = chance.choice([1, 2, 3])  # expect: HF-A021
    today = date.today().day  # expect: HF-A020
    late = importlib.import_module("time").time_ns()  # expect: HF-A020
    other = getattr(t, "process_time")()  # expect: HF-A020
    return start + drawn + today + late + other
