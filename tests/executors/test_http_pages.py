"""Pages and polling: in code, in a run, and as what one attempt says about the next call."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus

import pytest

from holdfast import Client, InvalidInput, RunFailed, StepState, WaitTimeout, Worker
from holdfast.authoring.catalogue import validate_here
from holdfast.authoring.dag import Dag
from holdfast.spec.document import load_value
from holdfast_executors import http

from . import http_flows as flows
from .http_attempts import output, refused
from .http_service import Asked, Handler, always, in_turn, reply, serving

ITEMS = ["a", "b", "c", "d", "e"]
CANARY = "canary-5h4v9q-sings"

pytestmark = pytest.mark.usefixtures("local")


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_HTTP_ALLOW", "127.0.0.1")


def listing(items: list[str], failures: Mapping[int, int] | None = None) -> Handler:
    """Two items a page, with everything that tells of the next one. Those in `failures` fail once."""
    left = dict(failures or {})

    async def handler(asked: Asked, writer: asyncio.StreamWriter) -> None:
        query = dict(parse_qsl(asked.target.partition("?")[2]))
        number = int(query.get("page", query.get("cursor", "1")))
        if number in left:
            writer.write(reply("not now", left.pop(number)))
            return
        more = number * 2 < len(items)
        body = {"items": items[2 * number - 2 : 2 * number], "next": number + 1 if more else None}
        link = f'</list?page={number + 1}>; rel="next", </list?page=1>; rel="first"'
        writer.write(reply(body, Link=link) if more else reply(body))

    return handler


@pytest.mark.parametrize("by", ["link", "cursor", "number"])
async def test_each_page_is_a_step_of_the_run(holdfast_client: Client, by: str) -> None:
    async with serving(listing(ITEMS)) as service, Worker(holdfast_client, [flows]):
        run = await holdfast_client.start(flows.fetch_all, f"{service.url}/list", by, 3)
        assert await run.result() == ITEMS
        assert len(service.asked) == 3
        assert [step.name for step in (await run.describe()).steps] == ["executor:http"] * 3


async def test_a_page_that_fails_is_asked_for_again_and_the_others_are_not(holdfast_client: Client) -> None:
    async with serving(listing(ITEMS, {2: 503})) as service, Worker(holdfast_client, [flows]):
        run = await holdfast_client.start(flows.fetch_all, f"{service.url}/list", "link", 9)
        assert await run.result() == ITEMS
        assert [asked.target for asked in service.asked] == [
            "/list",
            "/list?page=2",
            "/list?page=2",
            "/list?page=3",
        ]


async def test_the_status_of_every_page_counts(holdfast_client: Client) -> None:
    async with serving(listing(ITEMS, {3: 403})) as service, Worker(holdfast_client, [flows]):
        run = await holdfast_client.start(flows.fetch_all, f"{service.url}/list", "cursor", 9)
        with pytest.raises(RunFailed, match=r"list answered 403: not now"):
            await run.result()
        states = [step.state for step in (await run.describe()).steps]
        assert states == [StepState.COMPLETED, StepState.COMPLETED, StepState.FAILED]


async def test_more_pages_than_allowed_are_an_error(holdfast_client: Client) -> None:
    async with serving(listing(ITEMS)) as service, Worker(holdfast_client, [flows]):
        with pytest.raises(RunFailed, match="more than max_pages=2"):
            await holdfast_client.run(flows.fetch_all, f"{service.url}/list", "number", 2)
        assert len(service.asked) == 2


def pointing(*targets: str) -> Handler:
    """Answers whose links name these in turn, over and over."""
    left: list[str] = []

    async def handler(asked: Asked, writer: asyncio.StreamWriter) -> None:
        left[:] = left or targets
        writer.write(reply({"items": []}, Link=f"<{left.pop(0)}>; rel=next"))

    return handler


@pytest.mark.parametrize("targets", [("/b", "/c", "/d"), ("?a=1", "?a=2")])
async def test_pages_that_go_round_end(holdfast_client: Client, targets: tuple[str, ...]) -> None:
    async with serving(pointing(*targets)) as service, Worker(holdfast_client, [flows]):
        with pytest.raises(RunFailed, match="go round in a circle"):
            await holdfast_client.run(flows.fetch_all, f"{service.url}/list", "link", 100)
        assert len(service.asked) == len(targets) + 1


@pytest.mark.parametrize(
    ("link", "why"),
    [
        ("<{url}/list>; rel=next", "names itself as the next one"),
        ("<http://elsewhere.test/list>; rel=next", "is not on"),
        ("<//elsewhere.test/list>; rel=next", "is not on"),
        ("<https://127.0.0.1:1/list>; rel=next", "is not on"),
        ("<file:///etc/passwd>; rel=next", "is not on"),
    ],
)
async def test_a_link_that_leads_away_is_not_followed(link: str, why: str) -> None:
    answer: list[bytes] = []

    async def handler(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(answer[0])

    async with serving(handler) as service:
        answer.append(reply("x", Link=link.format(url=service.url)))
        assert why in await refused({"url": f"{service.url}/list", "pages": {"by": "link"}})


@pytest.mark.parametrize(
    ("header", "target"),
    [
        ('</b>; rel="next"', "/b"),
        ("</b>;rel=next", "/b"),
        ('</a>; rel="prev", </b>; title="a, b"; rel="next last"', "/b"),
        ('</b>; REL="NEXT"', "/b"),
        ("</a>; rel=prev", None),
        ("nonsense", None),
        ("<" * 5000, None),
        ("</a>" + '; rel="x' * 1000, None),
    ],
)
async def test_links_are_read_in_every_form(header: str, target: str | None) -> None:
    async with serving(always(reply("x", Link=header))) as service:
        found = await output({"url": service.url, "pages": {"by": "link"}})
        assert (found["next"] and found["next"]["patch"]["url"]) == (target and service.url + target)


@pytest.mark.parametrize(
    ("pages", "why"),
    [
        ({"by": "link", "next": "body.size"}, "which is no URL"),
        ({"by": "cursor", "next": "body.more"}, "which is no cursor"),
        ({"by": "cursor", "next": "body.list"}, "which is no cursor"),
        ({"by": "cursor", "next": "body.missing"}, "missing"),
        ({"by": "number", "more": "body.size"}, "body.size"),
    ],
)
async def test_what_is_no_way_to_the_next_page_fails_for_good(pages: dict[str, Any], why: str) -> None:
    async with serving(always(reply({"size": 3, "more": True, "list": []}))) as service:
        assert why in await refused({"url": service.url, "pages": pages})


async def test_the_number_of_the_first_page_is_sent_and_offsets_count_by_their_step() -> None:
    async with serving(always(reply([1]))) as service:
        pages = {"by": "number", "more": "true", "parameter": "offset", "first": 0, "step": 50}
        config = {"url": f"{service.url}/?limit=50", "pages": pages}
        found = await output(config)
        assert service.asked[0].target == "/?limit=50&offset=0"
        assert found["next"]["patch"] == {"query": {"offset": 50}}


async def test_polling_ends_when_it_holds(holdfast_client: Client) -> None:
    """With a minute between two calls, as a durable timer: time passes at once here."""
    pending, done = reply({"state": "pending"}), reply({"state": "done", "value": 7})
    async with serving(in_turn(pending, pending, done)) as service, Worker(holdfast_client, [flows]):
        run = await holdfast_client.start(flows.wait_until_done, service.url, 10, 60.0)
        assert await run.result() == {"state": "done", "value": 7}
        assert len(service.asked) == 3
        described = await run.describe()
        assert described.duration is not None
        assert described.duration >= timedelta(minutes=2)


async def test_polling_for_what_never_holds_ends(holdfast_client: Client) -> None:
    async with serving(always(reply({"state": "pending"}))) as service, Worker(holdfast_client, [flows]):
        with pytest.raises(RunFailed, match="does not hold after 4 calls"):
            await holdfast_client.run(flows.wait_until_done, service.url, 4, 0.01)
        assert len(service.asked) == 4


async def test_the_status_counts_while_polling(holdfast_client: Client) -> None:
    pending, gone = reply({"state": "pending"}), reply("", 410)
    async with serving(in_turn(pending, gone)) as service, Worker(holdfast_client, [flows]):
        with pytest.raises(RunFailed, match="answered 410"):
            await holdfast_client.run(flows.wait_until_done, service.url, 10, 0.01)


@pytest.mark.parametrize(("asked_for", "delay"), [("120", "PT2M"), ("1", "PT5S"), ("soon", "PT5S")])
async def test_a_longer_retry_after_sets_the_time_between_two_calls(asked_for: str, delay: str) -> None:
    async with serving(always(reply({}, 202, Retry_After=asked_for))) as service:
        found = await output({"url": service.url, "poll": {"until": "status == 200"}})
        assert (found["next"]["delay"], found["next"]["repeats"]) == (delay, True)


async def test_an_answer_to_a_poll_that_does_not_fit_the_expression_fails_for_good() -> None:
    async with serving(always(reply("<html>"))) as service:
        assert "body.state" in await refused({"url": service.url, "poll": {"until": "body.state == 'done'"}})


async def test_outside_a_workflow_they_are_plain_calls() -> None:
    async with serving(listing(ITEMS)) as service:
        found = await http.pages(service.url, http.CursorPages(next="body.next"), extract="body.items")
        assert [page.body for page in found] == [["a", "b"], ["c", "d"], ["e"]]
        with pytest.raises(InvalidInput, match="more than max_pages=2"):
            await http.pages(service.url, http.CursorPages(next="body.next", max_pages=2))
        with pytest.raises(WaitTimeout, match="after 2 calls"):
            await http.poll(service.url, "false", every=timedelta(milliseconds=1), max_calls=2)


@pytest.mark.parametrize(
    "pages",
    [
        {"by": "link"},
        {"by": "cursor", "next": "body.next"},
        {"by": "number", "more": "size(body.items) == 2"},
    ],
)
async def test_the_pages_of_a_node_are_its_output(holdfast_client: Client, pages: dict[str, Any]) -> None:
    async with serving(listing(ITEMS, {2: 503})) as service, Worker(holdfast_client, [flows]):
        dag = Dag("listed", output="listing.map(page, page.body.items)")
        dag.node(
            "listing", executor="http", config={"url": f"{service.url}/list", "pages": pages}, retry="quick"
        )
        run = await holdfast_client.start(dag, None)
        assert await run.result() == [["a", "b"], ["c", "d"], ["e"]]
        assert len(service.asked) == 4


async def test_a_node_with_more_pages_than_allowed_fails(holdfast_client: Client) -> None:
    async with serving(listing(ITEMS)) as service, Worker(holdfast_client, [flows]):
        dag = Dag("listed")
        config = {"url": f"{service.url}/list", "pages": {"by": "link", "max_pages": 2}}
        dag.node("listing", executor="http", config=config)
        with pytest.raises(RunFailed, match="2"):
            await holdfast_client.run(dag, None)
        assert len(service.asked) == 2


async def test_a_node_asks_until_it_holds_and_its_output_is_the_last_answer(holdfast_client: Client) -> None:
    pending, done = reply({"state": "pending"}), reply({"state": "done", "value": 7})
    async with serving(in_turn(pending, pending, done)) as service, Worker(holdfast_client, [flows]):
        dag = Dag("asked", output="job.body.value")
        poll = {"until": "body.state == 'done'", "every": "1m"}
        dag.node("job", executor="http", config={"url": service.url, "poll": poll})
        assert await holdfast_client.run(dag, None) == 7
        assert len(service.asked) == 3


async def test_a_large_download_passes_by_the_run(holdfast_client: Client) -> None:
    data = bytes(range(256)) * 12_000
    async with (
        serving(always(reply(data, Content_Type="application/octet-stream"))) as service,
        Worker(holdfast_client, [flows]),
    ):
        run = await holdfast_client.start(flows.download, service.url)
        is_ref, size_bytes = await run.result()
        assert size_bytes == len(data)
        kept = await recorded(holdfast_client, run.id)
    assert base64.b64encode(data[:48]) not in kept, "a part of it stands in the history"
    assert (is_ref, len(kept) < 20_000) == (True, True)


async def recorded(client: Client, run_id: str) -> bytes:
    history = await client.temporal.get_workflow_handle(run_id).fetch_history()
    return b"".join(event.SerializeToString() for event in history.events)


async def echo(asked: Asked, writer: asyncio.StreamWriter) -> None:
    said = json.dumps({"headers": asked.headers})
    writer.write(reply(said.encode(), int(asked.path[1:]), Content_Type="application/json", X_Echo=CANARY))


@pytest.mark.parametrize("status", [200, 403, 500])
@pytest.mark.parametrize("how", ["bearer", "basic", "template"])
async def test_no_history_log_or_error_holds_a_secret(
    holdfast_client: Client, how: str, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with (
        serving(echo) as service,
        Worker(holdfast_client, [flows], secrets={"KEY": CANARY}),
    ):
        run = await holdfast_client.start(flows.with_secrets, f"{service.url}/{status}", how)
        if status == 200:
            shown = str(await run.result())
        else:
            with pytest.raises(RunFailed) as failed:
                await run.result()
            shown = f"{failed.value!r}{failed.value.__cause__!r}"
        assert any(CANARY.encode() in f"{a}".encode() or how == "basic" for a in service.asked), "it was sent"
        kept = await recorded(holdfast_client, run.id)
        everywhere = [shown, str(await run.describe()), caplog.text, kept.decode("latin-1")]
    assert "***" in shown
    assert [CANARY in text for text in everywhere] == [False] * 4
    encoded = base64.b64encode(f"me:{CANARY}".encode()).decode()
    assert [encoded in text for text in everywhere] == [False] * 4


def keyed(key: str, write: Callable[[str], str]) -> Handler:
    """Three pages for those who have the key, which its links hold, written in one of the ways of URLs."""

    async def handler(asked: Asked, writer: asyncio.StreamWriter) -> None:
        query = dict(parse_qsl(asked.target.partition("?")[2]))
        if key not in (query.get("key"), asked.headers.get("x-key")):
            writer.write(reply("not for you", 401))
            return
        page = int(query.get("page", "1"))
        body = {"items": page, "next": f"/list?key={write(key)}&page={page + 1}" if page < 3 else None}
        writer.write(reply(body))

    return handler


WAYS: Mapping[str, Callable[[str], str]] = {
    "plus": quote_plus,
    "percent": lambda key: quote(key, safe=""),
    "path": quote,
    "lower": lambda key: re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), quote(key, safe="")),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("where", ["code", "query", "auth"])
async def test_a_next_page_whose_link_repeats_a_secret_is_fetched_and_the_secret_is_nowhere(
    holdfast_client: Client, way: str, where: str
) -> None:
    key = f"{CANARY}+/ ="
    async with (
        serving(keyed(key, WAYS[way])) as service,
        Worker(holdfast_client, [flows], secrets={"KEY": key}),
    ):
        url = f"{service.url}/list"
        if where == "code":
            run = await holdfast_client.start(flows.fetch_all_with_key, url)
        else:
            config: dict[str, Any] = {"url": url, "pages": {"by": "link", "next": "body.next"}}
            if where == "query":
                config["query"] = {"key": "{{ secrets.KEY }}"}
            else:
                config["auth"] = {"type": "header", "name": "X-Key", "secret": "KEY"}
            dag = Dag("listed", output="listing.map(page, page.body.items)")
            dag.node("listing", executor="http", config=config, retry="quick")
            run = await holdfast_client.start(dag, None)
        assert await run.result() == [1, 2, 3]
        assert len(service.asked) == 3
        assert CANARY.encode() not in await recorded(holdfast_client, run.id)


async def test_a_next_page_that_holds_a_secret_in_no_form_of_urls_is_refused() -> None:
    written = base64.b64encode(CANARY.encode()).decode()
    async with serving(always(reply({"next": f"/list?key={written}"}))) as service:
        config = {
            "url": service.url,
            "query": {"key": "{{ secrets.KEY }}"},
            "pages": {"by": "link", "next": "body.next"},
        }
        said = await refused(config, secrets={"KEY": CANARY})
    assert "would hold a secret in a form in which it cannot be put in again" in said


async def test_a_service_cannot_ask_for_a_secret() -> None:
    async with serving(always(reply({"next": "x {{ secrets.OTHER }}"}))) as service:
        config = {"url": service.url, "pages": {"by": "cursor", "next": "body.next"}}
        said = await refused(config, secrets={"OTHER": CANARY})
    assert said.endswith(
        "would hold '{{ secrets.OTHER }}', which came with an answer: only a config names secrets"
    )


@pytest.mark.parametrize("field", [{"pages": {"by": "link"}}, {"poll": {"until": "true"}}])
def test_calls_that_would_have_to_follow_in_a_map_are_found_before_the_start(field: dict[str, Any]) -> None:
    node = {"id": "a", "type": "http", "map": {"over": "input"}, "config": {"url": "{{ item }}", **field}}
    [found] = validate_here(load_value({"name": "x", "nodes": [node]}))
    (name,) = field
    assert (found.code, found.path) == ("HF-D032", f"nodes[0].config.{name}")
    assert "none can follow" in found.message


async def test_what_is_wrong_with_an_answer_names_the_call() -> None:
    async with serving(always(reply({"a": 1}))) as service:
        for wrong in ({"extract": "body.b"}, {"max_bytes": 1}, {"poll": {"until": "body.b"}}):
            said = await refused({"url": service.url, **wrong})
            assert f": GET {service.url}: " in said
