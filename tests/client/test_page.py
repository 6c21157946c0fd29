"""The page that plays a run: one file, nothing of it obeys what a run holds."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from contextlib import suppress
from html.parser import HTMLParser
from typing import Any

from holdfast import Client, Permanent, RunFailed, Worker, step, workflow
from holdfast.client.playback import read_playback
from holdfast.client.player.hiding import Hiding
from holdfast.client.player.page import make_page

HOSTILE = (
    "</script><script>alert(1)</script><img src=x onerror=alert(1)> \"quotes' \N{GRINNING FACE} \u202eRTL\u202c "
    "\N{HEBREW LETTER ALEF} ${data} $$ <!-- \u2028 \x00 ]]>"
)


@step(name="</title></script><b onclick='x'>")
async def hostile_step(order: dict[str, str]) -> dict[str, str]:
    return {"said": HOSTILE, "accessToken": "abc-token", "note": "the sesame is open"}


@step
async def hostile_end(said: str) -> None:
    raise Permanent(f"{said} with sesame-1234")


@workflow
async def hostile_run(order: dict[str, str]) -> None:
    said = await hostile_step(order)
    await hostile_end(said["said"])


class Page(HTMLParser):
    """The elements of a page, and the texts of some."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._within = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._within = tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._within, []).append(data)


async def test_a_hostile_run_makes_a_page_that_obeys_none_of_it(holdfast_client: Client) -> None:
    async with Worker(holdfast_client, [hostile_run]):
        run = await holdfast_client.start(
            hostile_run, {"order": HOSTILE, "password": "open-1"}, id="played-1"
        )
        with suppress(RunFailed):
            await run.result()
    playback = await read_playback(holdfast_client.temporal, run.id)
    text = make_page(playback, Hiding(["sesame-1234"]))
    text.encode("utf-8")
    page = Page(text)

    assert [tag for tag, _ in page.elements if tag in {"script", "img", "b", "iframe", "link", "a"}] == [
        "script"
    ] * 2
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    outside = [
        value for _, attributes in page.elements for value in attributes.values() if "://" in (value or "")
    ]
    assert set(outside) <= {"http://www.w3.org/2000/svg"}

    (policy,) = [
        attributes["content"] or ""
        for _, attributes in page.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    data, script = page.texts["script"][0], re.findall(r"<script>(.*?)</script>", text, re.DOTALL)[0]
    hashed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == f"'sha256-{hashed}'"
    assert not set(rules) & {"connect-src", "img-src", "font-src", "frame-src"}
    assert "fetch(" not in script
    assert "innerHTML" not in script

    assert data.isascii()
    assert not set(data) & set("<>&")
    held: dict[str, Any] = json.loads(data)
    first, second = held["steps"]
    assert HOSTILE in json.loads(first["input"])["order"]
    assert json.loads(first["result"])["said"] == HOSTILE
    assert held["frames"] == {**playback.frames.to_dict(), "frames": held["frames"]["frames"]}
    # What is called like a secret, and what is known to be one:
    for secret in ("open-1", "abc-token", "sesame-1234"):
        assert secret not in text
    assert json.loads(first["result"])["note"] == "the sesame is open"
    assert "***" in second["error"]


def test_fields_that_are_called_like_secrets_are_hidden_also_where_a_value_is_cut() -> None:
    hiding = Hiding()
    cut = '{"user": "a", "api_key": "k-1", "max_tokens": 5, "dbPassword":"p\\"q", "token": null, "secret": "cut he'
    assert hiding.text(cut) == (
        '{"user": "a", "api_key": "***", "max_tokens": 5, "dbPassword":"***", "token": null, "secret": "***"'
    )
    assert hiding.value({"X-Api-Key": "k", "tokens": 3, "list": [{"Authorization": "Bearer x"}]}) == {
        "X-Api-Key": "***",
        "tokens": 3,
        "list": [{"Authorization": "***"}],
    }
