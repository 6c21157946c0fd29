"""Keys are made in steps; the codec beside the workflow is never called by it."""

import os
from collections.abc import Iterable

from cryptography.fernet import Fernet

from holdfast import step, workflow


class Codec:
    def __init__(self) -> None:
        self.fernet = Fernet(os.environ["KEY"])

    def encode(self, payloads: Iterable[bytes]) -> list[bytes]:
        return [self.fernet.encrypt(payload) for payload in payloads]


@step
async def make_key() -> str:
    return Fernet.generate_key().decode()


@step
async def store(name: str, key: str) -> None:
    with open(name, "w") as file:
        file.write(key)


@workflow
async def rotate(name: str) -> None:
    await store(name, await make_key())
