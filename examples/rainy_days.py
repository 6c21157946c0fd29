"""A workflow as a graph: reads the weather data, looks at each year, and picks the wettest; drawn before and after."""

import asyncio
import csv
from pathlib import Path

from holdfast import Client, Dag, Worker
from holdfast.spec.diagram import of_spec, to_text

DATA = Path(__file__).parent / "data" / "seattle-weather.csv"
rain = Dag("rain", description="Which year had most rainy days?")


@rain.step
def years(input: str) -> list[int]:
    with Path(input).open(encoding="utf-8") as file:
        return sorted({int(row["date"][:4]) for row in csv.DictReader(file)})


@rain.map(over="years", item_name="year")
def rainy(input: str, year: int) -> dict[str, int]:
    with Path(input).open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["date"].startswith(str(year))]
    return {"year": year, "days": sum(float(row["precipitation"]) > 0 for row in rows)}


@rain.step
def wettest(rainy: list[dict[str, int]]) -> dict[str, int]:
    return max(rainy, key=lambda found: found["days"])


@rain.step(when="wettest.days > 150")
def warn(wettest: dict[str, int]) -> str:
    return f"take an umbrella: {wettest['days']} rainy days in {wettest['year']}"


async def main() -> None:
    print(to_text(of_spec(rain.compile())))
    async with Client.embedded() as client, Worker(client, []):
        run = await client.start(rain, str(DATA))
        print(await run.result())
        print(await run.diagram())


if __name__ == "__main__":
    asyncio.run(main())
