"""The http executor against a real service: what is sent, what comes back."""

from __future__ import annotations

import base64
import gzip
import sys
import zlib
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl

import pytest

from holdfast.testing import override
from holdfast_executors import http
from holdfast_executors.http_failures import MAX_RETRY_AFTER, retry_after
from holdfast_executors.http_request import open_client

from .http_attempts import attempt, guarded, output, postponed, refused
from .http_service import Asked, Service, always, by_path, in_turn, reply, serving


async def sent(config: dict[str, Any], **options: Any) -> Asked:
    """The request that a config makes."""
    async with serving(always(reply({"ok": True}))) as service:
        await output({"url": service.url, **config}, **options)
        return service.asked[0]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"])
async def test_every_method_is_sent_and_unsafe_ones_with_the_calls_own_key(method: str) -> None:
    asked = await sent({"method": method.lower()})
    assert asked.method == method
    unsafe = method in ("POST", "PUT", "PATCH", "DELETE")
    assert asked.headers.get("idempotency-key") == ("contract/node" if unsafe else None)


async def test_the_key_is_the_same_on_the_next_attempt() -> None:
    async with serving(always(reply("no", 503))) as service:
        for number in (1, 2):
            await postponed({"url": service.url, "method": "POST"}, number=number)
        first, second = service.asked
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


async def test_a_key_in_the_headers_takes_its_place() -> None:
    asked = await sent({"method": "POST", "headers": {"idempotency-KEY": "mine"}})
    assert asked.headers["idempotency-key"] == "mine"


async def test_the_query_is_added_to_the_urls_own() -> None:
    async with serving(always(reply())) as service:
        config = {"a": [1, "x y"], "b": True, "none": None, "c": "&=ü"}
        await output({"url": f"{service.url}/p?a=0&flag", "query": config})
        assert service.asked[0].target == "/p?a=0&flag&a=1&a=x+y&b=true&c=%26%3D%C3%BC"


@pytest.mark.parametrize(
    ("config", "kind", "body"),
    [
        ({"body": {"a": [1, None, "ü"]}}, "application/json", '{"a":[1,null,"ü"]}'.encode()),
        ({"body": False}, "application/json", b"false"),
        (
            {"body": {"a": "x y", "b": [1, 2]}, "body_type": "form"},
            "application/x-www-form-urlencoded",
            b"a=x+y&b=1&b=2",
        ),
        ({"body": "grüße", "body_type": "text"}, "text/plain; charset=utf-8", "grüße".encode()),
        (
            {"body": base64.b64encode(b"\0\xff").decode(), "body_type": "binary"},
            "application/octet-stream",
            b"\0\xff",
        ),
        (
            {"body": "<a/>", "body_type": "text", "headers": {"content-type": "application/xml"}},
            "application/xml",
            b"<a/>",
        ),
    ],
)
async def test_bodies_of_every_kind(config: dict[str, Any], kind: str, body: bytes) -> None:
    asked = await sent({"method": "POST", **config})
    assert (asked.headers["content-type"], asked.body) == (kind, body)


async def test_a_multipart_body_has_fields_and_files() -> None:
    parts = [
        {"name": "title", "text": "a\r\nb"},
        {"name": "file", "filename": "x.bin", "binary": base64.b64encode(b"\0\1").decode()},
        {"name": "page", "filename": "p", "text": "<p>", "content_type": "text/html"},
    ]
    asked = await sent({"method": "POST", "body": parts, "body_type": "multipart"})
    assert asked.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert b'name="title"\r\n\r\na\r\nb\r\n' in asked.body
    assert (
        b'name="file"; filename="x.bin"\r\nContent-Type: application/octet-stream\r\n\r\n\0\1\r\n'
        in asked.body
    )
    assert b'filename="p"\r\nContent-Type: text/html\r\n\r\n<p>\r\n' in asked.body


@pytest.mark.parametrize(
    ("answer", "wanted", "body"),
    [
        (reply({"a": 1}), "auto", {"a": 1}),
        (reply({"a": 1}, Content_Type="application/problem+json"), "auto", {"a": 1}),
        (reply(b"", Content_Type="application/json"), "auto", None),
        (reply("text"), "auto", "text"),
        (reply("<a/>", Content_Type="application/atom+xml"), "auto", "<a/>"),
        (reply("grüße".encode("latin-1"), Content_Type="text/plain; charset=ISO-8859-1"), "auto", "grüße"),
        (reply("grüße".encode("utf-16"), Content_Type='text/plain; charset="utf-16"'), "auto", "grüße"),
        (
            reply('{"ü":1}'.encode("latin-1"), Content_Type="application/json; charset=latin-1"),
            "auto",
            {"ü": 1},
        ),
        (reply(b"\xef\xbb\xbftext", Content_Type="text/plain"), "auto", "text"),
        (reply(b"\xff!", Content_Type="text/plain; charset=punycode"), "auto", "\ufffd!"),
        (reply(b"\xff!", Content_Type="text/plain; charset=zip"), "auto", "\ufffd!"),
        (reply(b"said nothing"), "auto", "said nothing"),
        (reply("[1]"), "json", [1]),
        (reply({"a": 1}), "text", '{"a": 1}'),
        (reply(b"", 204), "auto", ""),
    ],
)
async def test_bodies_are_read_as_they_are_declared(answer: bytes, wanted: str, body: Any) -> None:
    async with serving(always(answer)) as service:
        assert (await output({"url": service.url, "response": wanted}))["body"] == body


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (reply(b"\0\xff\x80", Content_Type="image/png"), "auto"),
        (reply(b"\0\xff\x80"), "auto"),
        (reply(b"\0\xff\x80", Content_Type="text/plain"), "bytes"),
    ],
)
async def test_bytes_come_as_base64(answer: bytes, wanted: str) -> None:
    async with serving(always(answer)) as service:
        found = await output({"url": service.url, "response": wanted})
    assert base64.b64decode(found["content"]) == b"\0\xff\x80"
    assert (found["body"], found["size_bytes"]) == (None, 3)


async def test_an_answer_tells_status_headers_url_and_time() -> None:
    answer = reply("x", 201, X_One="1").replace(b"\r\n\r\n", b"\r\nx-one: 2\r\n\r\n")
    async with serving(by_path({"/a": reply("", 302, Location="/b?c=1"), "/b": answer})) as service:
        found = await output({"url": f"{service.url}/a"})
        assert found["url"] == f"{service.url}/b?c=1"
    assert found["status"] == 201
    assert found["headers"]["x-one"] == "1, 2"
    assert found["elapsed"].startswith("PT0.")
    assert found["next"] is None


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(b"hello " * 50_000)),
        ("x-gzip", gzip.compress(b"hello " * 20_000) + gzip.compress(b"hello " * 30_000)),
        ("GZIP", gzip.compress(b"hello " * 50_000) + b"\0\0 padding"),
        ("deflate", zlib.compress(b"hello " * 50_000)),
        ("deflate", deflated(b"hello " * 50_000)),
        ("identity", b"hello " * 50_000),
    ],
)
async def test_packed_bodies_are_unpacked(encoding: str, packed: bytes) -> None:
    answer = reply(packed, Content_Type="text/plain", Content_Encoding=encoding)
    async with serving(always(answer)) as service:
        assert (await output({"url": service.url}))["body"] == "hello " * 50_000
        assert service.asked[0].headers["accept-encoding"] == "gzip, deflate"


async def test_an_expression_makes_the_body() -> None:
    async with serving(always(reply({"items": [{"n": 1}, {"n": 2}]}, X_Total="2"))) as service:
        config = {
            "url": service.url,
            "extract": "{'n': body.items.map(i, i.n), 't': headers['x-total'], 's': status}",
        }
        assert (await output(config))["body"] == {"n": [1, 2], "t": "2", "s": 200}


async def test_an_expression_that_does_not_fit_fails_for_good() -> None:
    async with serving(always(reply({"items": []}))) as service:
        assert "body.rows" in await refused({"url": service.url, "extract": "body.rows"})


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 599])
async def test_statuses_that_may_change_are_tried_again(status: int) -> None:
    async with serving(always(reply("busy", status))) as service:
        said = await postponed({"url": service.url})
    assert said == f"Unavailable: GET {service.url} answered {status}: busy"


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 409, 410, 413, 418, 422, 426, 451])
async def test_other_errors_are_for_good(status: int) -> None:
    async with serving(always(reply({"error": "no\n such"}, status))) as service:
        said = await refused({"url": service.url})
    assert said == f'Permanent: GET {service.url} answered {status}: {{"error": "no\\n such"}}'


@pytest.mark.parametrize(
    ("wanted", "status", "fine"),
    [
        (["2xx"], 299, True),
        (["2XX", 404], 404, True),
        (["200-204"], 204, True),
        (["200-204"], 205, False),
        ([200], 201, False),
        (["503"], 503, True),
    ],
)
async def test_success_is_what_the_config_says(wanted: list[Any], status: int, fine: bool) -> None:
    async with serving(always(reply("x", status))) as service:
        ended = await attempt({"url": service.url, "success_status": wanted})
    assert (ended.error is None) is fine


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7),
        (" 0.5 ", 0.5),
        ("99999999", 3600),
        ("1" * 400, 3600),
        ("Sat, 21 Nov 2026 12:00:30 GMT", 30),
        ("Saturday, 21-Nov-26 12:01:00 GMT", 60),
        ("Sat Nov 21 12:00:10 2026", 10),
        ("Sat, 21 Nov 2026 14:00:30 +0200", 30),
        ("Fri, 31 Dec 2999 23:59:59 GMT", 3600),
        ("Sat, 21 Nov 2026 11:59:59 GMT", None),
        ("0", None),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("Sat, 99 Nov 2026 12:00:30 GMT", None),
        ("1e9", None),
        ("٣", None),
        (None, None),
    ],
)
def test_retry_after_in_every_form(value: str | None, seconds: float | None) -> None:
    found = retry_after(value, now=datetime(2026, 11, 21, 12, tzinfo=UTC))
    assert found == (None if seconds is None else timedelta(seconds=seconds))


async def test_retry_after_sets_the_next_attempt() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(days=2), usegmt=True)
    async with serving(
        in_turn(reply("", 429, Retry_After="120"), reply("", 503, Retry_After=later))
    ) as service:
        for delay in (timedelta(seconds=120), MAX_RETRY_AFTER):
            ended = await attempt({"url": service.url})
            assert ended.error is not None
            assert (ended.error.next_retry_delay, ended.error.non_retryable) == (delay, False)


async def test_redirects_change_the_method_as_browsers_do_and_keep_a_body_where_it_stays() -> None:
    answers = {
        "/303": reply("", 303, Location="/end"),
        "/307": reply("", 307, Location="/end"),
        "/end": reply("ok"),
    }
    async with serving(by_path(answers)) as service:
        for status in (303, 307):
            await output({"url": f"{service.url}/{status}", "method": "POST", "body": {"a": 1}})
        ends = [asked for asked in service.asked if asked.path == "/end"]
    assert [(end.method, end.body) for end in ends] == [("GET", b""), ("POST", b'{"a":1}')]


async def test_without_redirects_one_is_an_answer() -> None:
    async with serving(always(reply("", 302, Location="/b"))) as service:
        found = await output({"url": service.url, "max_redirects": 0, "success_status": ["3xx"]})
        said = await refused({"url": service.url, "max_redirects": 0})
    assert (found["status"], found["headers"]["location"]) == (302, "/b")
    assert "answered 302; if that is a success, list it in success_status" in said


async def test_another_origin_gets_no_credentials() -> None:
    async with (
        serving(always(reply("ok"))) as other,
        serving(always(reply("", 307, Location=other.url))) as service,
    ):
        config = {
            "url": service.url,
            "headers": {"X-Own": "private", "Accept-Language": "de"},
            "auth": {"type": "header", "name": "X-Api-Key", "secret": "KEY"},
        }
        await output(config, secrets={"KEY": "sesame-open"})
        assert service.asked[0].headers["x-api-key"] == "sesame-open"
        assert {"x-own", "x-api-key"} & set(other.asked[0].headers) == set()
        assert other.asked[0].headers["accept-language"] == "de"


async def test_cookies_stay_with_nobody() -> None:
    async with (
        serving(always(reply("ok", Set_Cookie="session=1; Path=/"))) as service,
        guarded().opened() as client,
    ):
        with override({open_client: client}):
            for _ in range(2):
                await http.get(service.url)
        assert [asked.headers.get("cookie") for asked in service.asked] == [None, None]


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_HTTP_ALLOW", "127.0.0.1")


async def form(service: Service, number: int) -> dict[str, str]:
    return dict(parse_qsl(service.asked[number].body.decode()))


@pytest.mark.usefixtures("local")
async def test_functions_call_at_once_outside_a_workflow() -> None:
    async with serving(always(reply({"a": 1}))) as service:
        answer = await http.get(service.url, query={"q": 1}, headers={"X-A": "b"})
        await http.post(service.url, json={"x": 1})
        await http.put(service.url, form={"x": 1})
        await http.patch(service.url, text="x")
        await http.delete(service.url, binary=b"\0")
        await http.request("OPTIONS", service.url)
        methods = [asked.method for asked in service.asked]
        assert await form(service, 2) == {"x": "1"}
        bodies = [service.asked[number].body for number in (1, 3, 4)]
    assert (answer.status, answer.body) == (200, {"a": 1})
    assert methods == ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
    assert bodies == [b'{"x":1}', b"x", b"\0"]


@pytest.mark.usefixtures("local")
async def test_two_bodies_are_refused() -> None:
    with pytest.raises(TypeError, match="json and text"):
        await http.post("http://127.0.0.1", json=1, text="x")


async def test_connections_are_shared() -> None:
    async with serving(always(reply("ok"))) as service, guarded().opened() as client:
        with override({open_client: client}):
            for _ in range(5):
                await http.get(service.url)
        assert service.connections == 1


async def test_without_the_library_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    monkeypatch.delitem(sys.modules, "holdfast_executors.http_client", raising=False)
    with pytest.raises(
        Exception, match=r"needs httpx, which is not installed: pip install 'holdfast\[http\]'"
    ):
        await http.get("http://127.0.0.1")
