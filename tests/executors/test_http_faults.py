"""Services that refuse, hang, break off or lie: what an attempt says, and whether another one is made."""

from __future__ import annotations

import asyncio
import gzip
import os
import socket
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

from holdfast import Unavailable
from holdfast.testing import override
from holdfast_executors import http
from holdfast_executors.http_request import open_client

from .certificates import self_signed
from .http_attempts import guarded, output, postponed, refused
from .http_service import Asked, Handler, always, cut_off, dripping, in_turn, reply, serving

ROOT = Path(__file__).parents[2]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


async def test_nobody_there_is_tried_again(closed_port: int) -> None:
    said = await postponed({"url": f"http://127.0.0.1:{closed_port}/"})
    assert said.startswith(f"Unavailable: GET http://127.0.0.1:{closed_port}/: ConnectError:")


async def test_no_answer_ends_after_the_time_to_read() -> None:
    async with serving(dripping(b"", b"", 3600)) as service:
        config = {"url": service.url, "timeouts": {"read": "200ms"}}
        assert await postponed(config) == f"Unavailable: GET {service.url}: ReadTimeout"


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"", id="status line"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX-Header: ", id="header"),
        pytest.param(HEAD + b"Content-Length: 100\r\n\r\n", id="body"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", id="chunk"),
        pytest.param(b"HTTP/1.1 503 Busy\r\nContent-Length: 100\r\n\r\n", id="error"),
    ],
)
async def test_one_byte_at_a_time_ends_after_the_total_time(sent: bytes) -> None:
    """Every byte comes well within the time to read."""
    async with serving(dripping(sent, b"1", 0.05)) as service:
        config = {"url": service.url, "timeouts": {"read": "10s", "total": "600ms"}}
        began = time.monotonic()
        said = await postponed(config)
        assert time.monotonic() - began < 10
    assert said == f"Unavailable: GET {service.url}: not ready after timeouts.total=0.6 s"


async def test_a_request_that_is_not_taken_ends_too() -> None:
    leave = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await leave.wait()
        writer.transport.abort()

    server = await asyncio.start_server(deaf, "127.0.0.1", 0, limit=1024)
    port = server.sockets[0].getsockname()[1]
    body = "x" * 20_000_000
    config = {
        "url": f"http://127.0.0.1:{port}",
        "method": "POST",
        "body": body,
        "timeouts": {"read": "300ms"},
    }
    assert "WriteTimeout" in await postponed(config)
    leave.set()
    server.close()
    await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("sent", "reset"),
    [
        pytest.param(b"", False, id="nothing"),
        pytest.param(b"", True, id="reset"),
        pytest.param(b"HTTP/1.1 200", False, id="status line"),
        pytest.param(HEAD + b"X-Half", False, id="header"),
        pytest.param(HEAD + b"Content-Length: 100\r\n\r\nhalf", False, id="body shorter than its length"),
        pytest.param(HEAD + b"Content-Length: 100\r\n\r\nhalf", True, id="reset in the body"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", False, id="no last chunk"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhel", False, id="half a chunk"),
        pytest.param(
            HEAD + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n" + gzip.compress(b"x" * 999)[:-9],
            False,
            id="half a gzip",
        ),
        pytest.param(
            HEAD + b"Content-Encoding: deflate\r\nConnection: close\r\n\r\n" + zlib.compress(b"x" * 999)[:-5],
            False,
            id="half a deflate",
        ),
    ],
)
async def test_an_answer_that_breaks_off_is_tried_again(sent: bytes, reset: bool) -> None:
    async with serving(cut_off(sent, reset=reset)) as service:
        assert (await postponed({"url": service.url})).startswith("Unavailable: ")
        assert len(service.asked) == 1


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"\x16\x03\x01 what is this\r\n\r\n", id="no HTTP"),
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", id="another protocol"),
        pytest.param(b"HTTP/1.1 2000 OK\r\n\r\n", id="status"),
        pytest.param(HEAD + b"Content-Length: lots\r\n\r\nx", id="no number as length"),
        pytest.param(HEAD + b"Content-Length: -1\r\n\r\nx", id="negative length"),
        pytest.param(HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxy", id="two lengths"),
        pytest.param(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n0\r\n\r\n", id="no size of chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000 + b"\r\n\r\n", id="endless header"),
    ],
)
async def test_what_is_no_answer_is_tried_again(sent: bytes) -> None:
    async with serving(cut_off(sent)) as service:
        assert (await postponed({"url": service.url, "timeouts": {"total": "5s"}})).startswith(
            "Unavailable: "
        )


async def test_a_body_longer_than_its_length_is_no_part_of_the_next_answer() -> None:
    too_long = HEAD + b"Content-Length: 4\r\n\r\nfirst and more that nobody asked for"
    async with serving(in_turn(too_long, reply("second"))) as service, guarded().opened() as client:
        with override({open_client: client}):
            assert (await http.get(service.url)).body == "firs"
            with pytest.raises(Unavailable, match="illegal status line"):
                await http.get(service.url)
            assert (await http.get(service.url)).body == "second"


async def test_a_body_that_is_damaged_is_tried_again() -> None:
    packed = bytearray(gzip.compress(b"hello " * 1000))
    packed[30] ^= 0xFF
    async with serving(always(reply(bytes(packed), Content_Encoding="gzip"))) as service:
        assert "the answer's body is damaged" in await postponed({"url": service.url})


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress"])
async def test_a_packing_that_was_not_asked_for_is_refused(encoding: str) -> None:
    async with serving(always(reply(b"x", Content_Encoding=encoding))) as service:
        assert encoding in await refused({"url": service.url})


@pytest.mark.parametrize("wanted", ["text", "json", "bytes", "auto"])
async def test_a_gzip_bomb_is_refused(wanted: str) -> None:
    bomb = gzip.compress(bytes(200_000_000))
    async with serving(always(reply(bomb, Content_Encoding="gzip"))) as service:
        said = await refused({"url": service.url, "response": wanted, "max_bytes": 1_000_000})
    assert said.startswith("PayloadTooLarge: GET http://127.0.0.1:")
    assert ": the answer's body has more bytes, and max_bytes=1000000" in said


async def test_a_gzip_bomb_as_an_error_message_is_not_unpacked() -> None:
    bomb = gzip.compress(bytes(200_000_000))
    async with serving(always(reply(bomb, 500, Content_Encoding="gzip"))) as service:
        began = time.process_time()
        assert "answered 500" in await postponed({"url": service.url})
        assert time.process_time() - began < 1


async def test_a_body_that_announces_too_much_is_not_read() -> None:
    announced = HEAD + b"Content-Length: 10737418240\r\n\r\n"
    async with serving(dripping(announced, b"", 3600)) as service:
        said = await refused({"url": service.url})
    assert said == (
        f"PayloadTooLarge: GET {service.url}: the answer's body announces 10737418240 bytes, "
        "and max_bytes=10485760: ask for less, or "
        "raise max_bytes"
    )


def endless(head: bytes) -> Handler:
    async def handler(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            await writer.drain()

    return handler


async def test_a_body_without_end_is_refused_at_the_limit() -> None:
    async with serving(endless(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")) as service:
        assert "has more" in await refused({"url": service.url, "max_bytes": 1_000_000})


async def test_the_body_of_a_redirect_without_end_is_left() -> None:
    async def handler(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.path == "/end":
            writer.write(reply("there"))
        else:
            await endless(b"HTTP/1.1 302 Found\r\nLocation: /end\r\nTransfer-Encoding: chunked\r\n\r\n")(
                asked, writer
            )

    async with serving(handler) as service:
        assert (await output({"url": service.url}))["body"] == "there"


def test_a_body_of_10_gb_takes_no_memory() -> None:
    """In a process of its own, since the peak of this one tells nothing."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.http_memory"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    print(done.stdout)
    growth = {how: float(mib) for how, mib in (line.rsplit(" ", 1) for line in done.stdout.splitlines())}
    assert set(growth) == {"announced", "chunked", "chunked as bytes", "gzip bomb"}
    assert max(growth.values()) < 64


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "not JSON"),
        ("<!doctype html><p>Login", "it begins: '<!doctype html><p>Login'"),
        ('{"a": NaN}', "not JSON"),
        ('{"a": 1, "a": 2}', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("1" * 10_000, "not JSON"),
        ('"\\ud800"', "not JSON"),
    ],
)
async def test_what_is_announced_as_json_and_is_none_fails_for_good(text: str, why: str) -> None:
    async with serving(always(reply(text.encode(), Content_Type="application/json"))) as service:
        assert why in await refused({"url": service.url})


async def test_a_redirect_loop_ends() -> None:
    async with serving(always(reply("", 302, Location="/again"))) as service:
        said = await refused({"url": service.url, "max_redirects": 3})
        assert said.startswith("InvalidInput: more than max_redirects=3 redirects: from ")
        assert len(service.asked) == 4


async def test_an_expression_that_takes_too_long_fails() -> None:
    async with serving(always(reply(list(range(10_000))))) as service:
        config = {"url": service.url, "extract": "body.map(a, body.map(b, body.map(c, a + b + c)))"}
        assert (await refused(config)).startswith("TooCostly: ")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "self-signed certificate"),
        ({"days": -1}, "certificate has expired"),
        ({"address": "127.0.0.2"}, "IP address mismatch"),
    ],
)
async def test_a_certificate_that_is_not_trusted_fails_for_good(
    options: dict[str, Any], why: str, tmp_path: Path
) -> None:
    service_tls, client_tls = self_signed(tmp_path, **options)
    async with serving(always(reply("ok")), tls=service_tls) as service:
        client = guarded(tls=client_tls) if options else guarded()
        said = await refused({"url": service.url}, client=client)
        assert said.startswith(f"Permanent: GET {service.url}: the certificate is not trusted: ")
        assert why in said
        assert service.asked == []


async def test_a_certificate_that_is_trusted_is_fine(tmp_path: Path) -> None:
    service_tls, client_tls = self_signed(tmp_path)
    async with serving(always(reply("ok")), tls=service_tls) as service:
        assert (await output({"url": service.url}, client=guarded(tls=client_tls)))["body"] == "ok"


CALLS_IN_THREADS = """
import asyncio, os, ssl, sys, threading

made = []
make = ssl.create_default_context
ssl.create_default_context = lambda *args, **named: made.append(1) or make(*args, **named)

from holdfast_executors import http

assert made == [], "it is made when the module is imported"
answers = []

async def calls():
    answers.extend([(await http.get(sys.argv[1])).body for _ in range(3)])

def in_a_loop():
    asyncio.run(calls())

in_a_loop()
opened = len(os.listdir("/proc/self/fd"))
threads = [threading.Thread(target=in_a_loop) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(made), answers == ["ok"] * 15, len(os.listdir("/proc/self/fd")) - opened)
"""


async def test_calls_outside_a_worker_read_the_certificates_once_and_leave_nothing_open(
    tmp_path: Path,
) -> None:
    service_tls, _ = self_signed(tmp_path)
    async with serving(always(reply("ok")), tls=service_tls) as service:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-W", "error", "-c", CALLS_IN_THREADS, service.url),
            env={
                **os.environ,
                "SSL_CERT_FILE": str(tmp_path / "service.pem"),
                "HOLDFAST_HTTP_ALLOW": "127.0.0.1",
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        said, complaint = await process.communicate()
    assert (said.split(), complaint) == ([b"1", b"True", b"0"], b"")


async def test_https_to_a_service_without_is_tried_again() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(reply("this is a service without TLS", 400))
        writer.close()

    server = await asyncio.start_server(plain, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert "SSL" in await postponed({"url": f"https://127.0.0.1:{port}"})
    server.close()


async def test_from_https_no_redirect_leads_to_http(tmp_path: Path) -> None:
    service_tls, client_tls = self_signed(tmp_path)
    async with (
        serving(always(reply("plain"))) as plain,
        serving(always(reply("", 302, Location=plain.url)), tls=service_tls) as service,
    ):
        said = await refused({"url": service.url}, client=guarded(tls=client_tls))
        assert "it is not encrypted, and what redirected there was" in said
        assert plain.connections == 0
