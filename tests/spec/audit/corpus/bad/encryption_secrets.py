"""Keys made in workflow code: they could be made again from its history."""

import os
import secrets

from random import Random

from holdfast import step, workflow

DICE = Random(42)


@step
async def store(name: str, value: str) -> None:
    print(name, value)


@workflow
async def rotate(name: str) -> None:
    name += str(DICE.randint(1, 6))  # expect: HF-A021
    name += Random().choice("abc")  # expect: HF-A021
    key = secrets.token_hex(32)  # expect: HF-A021
    salt = os.urandom(16)  # expect: HF-A021
    await store(name, key + salt.hex())
