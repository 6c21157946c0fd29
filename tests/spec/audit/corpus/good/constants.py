"""Tables of the module that nothing changes after the import."""

import os
import re
import time
from datetime import datetime

from holdfast import step, workflow

STARTED = datetime.now()
DEBUG = os.environ.get("DEBUG") == "1"
RATES: dict[str, float] = {"EUR": 1.0}
RATES["USD"] = 1.1
KNOWN = frozenset(RATES) | {"GBP"}
WORDS = re.compile(r"\w+")
COUNTRIES = []
for code in ("no", "se"):
    COUNTRIES.append(code)


def measure() -> float:
    return time.perf_counter()


@step
async def convert(amount: float, rate: float) -> float:
    return amount * rate + measure() * 0


@workflow
async def exchange(amount: float, currency: str) -> float:
    if currency not in KNOWN or not WORDS.match(currency) or len(COUNTRIES) > 2:
        raise ValueError(currency)
    return await convert(amount, RATES.get(currency, 1.3))


async def main() -> None:
    print(time.time(), await exchange.fn(1.0, "EUR"))
