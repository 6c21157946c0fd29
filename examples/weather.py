# pyright: reportUnknownMemberType=false
"""Four years of daily weather: the statistics of each year in parallel, then a report with a plot."""

import asyncio
import csv
import random
from pathlib import Path
from statistics import fmean

from pydantic import BaseModel

from holdfast import Client, Worker, step, workflow
from holdfast_server.demo.ledger import recorded

DATA = Path(__file__).parent / "data" / "seattle-weather.csv"


class Year(BaseModel):
    year: int
    temperature: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.year}: {self.temperature:.2f} °C, between {self.low:.2f} and {self.high:.2f}"


@step
def load(data: Path) -> dict[int, list[float]]:
    """The temperature of each day, by year, in degrees Celsius."""
    years: dict[int, list[float]] = {}
    with recorded(), data.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            middle = (float(row["temp_max"]) + float(row["temp_min"])) / 2
            years.setdefault(int(row["date"][:4]), []).append(middle)
    return years


@step
def analyse(year: int, days: list[float], samples: int) -> Year:
    """The mean of a year with its 95 % interval, found by a bootstrap of so many samples."""
    with recorded(str(year)):
        chance = random.Random(year)
        means = sorted(fmean(chance.choices(days, k=len(days))) for _ in range(samples))
    low, high = means[samples * 25 // 1000], means[samples * 975 // 1000]
    return Year(year=year, temperature=fmean(days), low=low, high=high)


@step
def report(years: list[Year], folder: Path) -> str:
    """Write the years into `folder`, as text and as a plot."""
    from matplotlib.figure import Figure  # slow to import (and loosely typed)

    with recorded():
        folder.mkdir(parents=True, exist_ok=True)
        text = "\n".join(str(year) for year in years)
        (folder / "weather.txt").write_text(text, encoding="utf-8")
        axes = (figure := Figure()).subplots()
        names = [str(year.year) for year in years]
        axes.vlines(names, [year.low for year in years], [year.high for year in years])
        axes.plot(names, [year.temperature for year in years], "o")
        axes.set(title="Mean temperature, with its 95 % interval", ylabel="°C")
        figure.savefig(folder / "weather.png")
    return text


@workflow
async def weather(data: Path, folder: Path, samples: int = 20_000) -> str:
    years = await load(data)
    analysed = await asyncio.gather(*(analyse(year, days, samples) for year, days in years.items()))
    return await report(analysed, folder)


async def main() -> None:
    async with Client.embedded() as client, Worker(client, [weather]):
        print(await client.run(weather, DATA, Path("demo-output")))


if __name__ == "__main__":
    asyncio.run(main())
