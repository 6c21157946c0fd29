"""A workflow as data: weather over HTTP, jq and CEL, a model's summary, a person's approval, and a file."""

import asyncio
import csv
import json
import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from holdfast import Client, Dag, Worker, step
from holdfast.testing import FakeLLM, LLMRequest
from holdfast_server.demo.ledger import recorded

HERE = Path(__file__).parent
briefing = Dag.load((HERE / "briefing.yaml").read_text("utf-8"))


@step
def write_briefing(path: Path, text: dict[str, str], months: list[dict[str, str | int]]) -> str:
    rows = [f"| {month['month']} | {month['days']} |" for month in months]
    table = ["| Month | Rainy days, 2012 to 2015 |", "|---|---|", *rows]
    with recorded(path.name):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([f"# {text['headline']}", "", text["advice"], "", *table, ""]), "utf-8")
    return str(path)


def answer(request: LLMRequest) -> dict[str, str]:
    """Stands for a model: a headline and some advice, made of the facts in the prompt."""
    days, month = re.findall(r"most rainy days, (\d+), in (\w+)", request.prompt)[0]
    advice = f"It rained on {days} of its days in four years: take an umbrella."
    return {"headline": f"{month} is Seattle's wettest month", "advice": advice}


class Weather(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        year = int(asked[1]) if (asked := re.search(r"year=(\d+)", self.path)) else 2012
        with (HERE / "data" / "seattle-weather.csv").open(encoding="utf-8", newline="") as lines:
            days = [row for row in csv.DictReader(lines) if row["date"].startswith(str(year))]
        page = json.dumps({"days": days, "next": year + 1 if year < 2015 else None}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the run shows what was asked for."""


@contextmanager
def weather_service() -> Generator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Weather) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"


async def main() -> None:
    with weather_service() as address, FakeLLM() as llm:
        llm.rule(".*", answer)
        os.environ["HOLDFAST_HTTP_ALLOW"] = address  # only public addresses are reached otherwise
        given = {"service": f"http://{address}", "llm": llm.base_url, "output": "demo-output/briefing.md"}
        async with Client.embedded() as client, Worker(client, []):
            run = await client.start(briefing, given)
            now = await run.describe()
            while not now.waits and not now.state.closed:
                await asyncio.sleep(0.2)
                now = await run.describe()
            print(f"run {run.id} {now.waiting_for}")
            await client.approvals.decide(run.id, "publish", approved=True, by="Ada")
            print(await run.result())
            print(await run.diagram())


if __name__ == "__main__":
    asyncio.run(main())
