"""A helper that steps may call and workflows may not, by way of others."""

from __future__ import annotations

import random
import time

from holdfast import set_state, step, workflow


def stamp() -> float:
    return time.time()  # expect: HF-A020


def label(depth: int) -> str:
    return label(depth - 1) if depth else f"{stamp()}"


class Dice:
    sides = 6

    @classmethod
    def loaded(cls) -> Dice:
        return cls()

    @staticmethod
    def seed() -> None:
        random.seed(1)  # expect: HF-A021

    def __call__(self) -> int:
        return random.randint(1, self.sides)  # expect: HF-A021

    def __enter__(self) -> Dice:
        self.seed()
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(1)  # expect: HF-A024


@step(local=True)  # strict: HF-A013
async def save(text: str) -> float:
    return stamp() + len(text)


@workflow
async def game(rounds: int) -> float:
    with Dice.loaded() as dice:
        thrown = [dice() for _ in range(rounds)]
    set_state(thrown)
    return await save(label(3))


def timed(function):
    def inner(*arguments):
        time.sleep(1)  # expect: HF-A024
        return function(*arguments)

    return inner


@timed
def tally(state: list[int]) -> int:
    return len(state)


def lucky(state: list[int]) -> None:
    if random.random() > tally(state):  # expect: HF-A021
        raise ValueError(state)


@game.update(validator=lucky)
def again(state: list[int]) -> int:
    state.append(Dice()())
    return random.choice(state)  # expect: HF-A021
