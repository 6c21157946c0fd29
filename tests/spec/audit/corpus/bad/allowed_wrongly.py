"""Comments that allow too little, too much, or without saying why."""

import time

from holdfast import workflow


@workflow
async def careless() -> float:
    first = time.time()  # holdfast: allow HF-A020 # expect: HF-A090
    second = time.time()  # holdfast: allow HF-A021 the wrong rule # expect: HF-A020, HF-A091
    third = len("x")  # holdfast: allow HF-A020 there was a clock here once # expect: HF-A091
    fourth = time.time()  # holdfast: allow because I say so # expect: HF-A020, HF-A090
    return first + second + third + fourth
