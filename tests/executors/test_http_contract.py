"""The contract of executors, for `http`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from holdfast.testing import ContractCheck, executor_contract
from holdfast_executors.http_client import HttpClient
from holdfast_executors.http_request import Http, open_client

from .http_attempts import guarded


async def answers(request: httpx.Request) -> httpx.Response:
    if request.url.path == "/slow":
        await asyncio.sleep(5)

    async def body() -> AsyncIterator[bytes]:
        yield json.dumps({"you": dict(request.headers)}).encode()

    status = 404 if request.url.path == "/missing" else 200
    return httpx.Response(status, content=body(), headers={"Content-Type": "application/json"})


def scripted() -> HttpClient:
    client = guarded()
    client.web = httpx.AsyncClient(transport=httpx.MockTransport(answers))
    return client


SERVICE = "http://service.test"
CHECKS = executor_contract(
    Http,
    good=[
        {"url": SERVICE},
        {"url": SERVICE, "headers": {"X-Key": "{{ secrets.KEY }}"}},
        {"url": SERVICE, "auth": {"type": "bearer", "secret": "KEY"}, "method": "POST", "body": [1]},
        {"url": SERVICE, "auth": {"type": "basic", "username": "me", "secret": "KEY"}, "response": "bytes"},
        {"url": SERVICE, "extract": "body.you.host", "timeouts": {"total": "5s"}},
    ],
    bad=[
        {},
        {"url": "file:///etc/passwd"},
        {"url": "http://me:word@service.test"},
        {"url": "http:///nowhere"},
        {"url": "http://service.test:99999"},
        {"url": "http://service.test/a b"},
        {"url": SERVICE, "method": "TRACE"},
        {"url": SERVICE, "headers": {"X-A": "1\r\nX-B: 2"}},
        {"url": SERVICE, "headers": {"X A": "1"}},
        {"url": SERVICE, "headers": {"Host": "elsewhere"}},
        {"url": SERVICE, "headers": {"X-A": "ü"}},
        {"url": SERVICE, "auth": {"type": "header", "name": "Content-Length", "secret": "KEY"}},
        {"url": SERVICE, "auth": {"type": "bearer", "secret": "not there"}},
        {"url": SERVICE, "auth": {"type": "bearer", "secret": "MISSING"}},
        {
            "url": SERVICE,
            "auth": {"type": "oauth2", "token_url": "ftp://x", "client_id": "a", "secret": "KEY"},
        },
        {"url": SERVICE, "success_status": ["299-200"]},
        {"url": SERVICE, "extract": "body."},
        {"url": SERVICE, "extract": "rows"},
        {"url": SERVICE, "timeouts": {"total": "11m"}},
        {"url": SERVICE, "body": 1},
        {"url": SERVICE, "method": "POST", "body": "not base64", "body_type": "binary"},
        {"url": SERVICE, "method": "POST", "body": {"a": {"b": 1}}, "body_type": "form"},
        {"url": SERVICE, "method": "POST", "body": [{"text": "no name"}], "body_type": "multipart"},
        {"url": SERVICE, "method": "POST", "body": 1, "body_type": "text"},
        {"url": SERVICE, "max_bytes": 0},
        {"url": SERVICE, "limit": {"key": "service"}},
        {"url": SERVICE, "limit": {"rate": "often"}},
        {"url": SERVICE, "limit": {"concurrency": 0}},
        {"url": SERVICE, "pages": {"by": "link"}, "poll": {"until": "true"}},
        {"url": f"{SERVICE}/missing"},
    ],
    slow={"url": f"{SERVICE}/slow"},
    secrets={"KEY": "sk-canary-7h3-quick"},
    overrides={open_client: scripted()},
)


@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_contract(check: ContractCheck) -> None:
    check()
