"""One request and its answer: redirects followed, a token that is no longer good fetched anew."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from holdfast import ExecutorContext, InvalidInput, NotAllowed
from holdfast.tracing import Attribute, outgoing
from holdfast_executors.http_auth import BasicAuth, BearerAuth, HeaderAuth, OAuth2Auth, basic, secret_of
from holdfast_executors.http_body import arguments, shown_url, url_problem, with_query
from holdfast_executors.http_decode import ACCEPTED

if TYPE_CHECKING:
    import httpx

    from holdfast_executors.http_client import HttpClient
    from holdfast_executors.http_request import HttpConfig

_PASSED_OVER_BYTES: Final = 64 * 1024
_UNSAFE: Final = frozenset(("POST", "PUT", "PATCH", "DELETE"))
_FOR_ANYBODY: Final = frozenset(
    (
        "accept",
        "accept-encoding",
        "accept-language",
        "content-length",
        "content-type",
        "host",
        "idempotency-key",
        "transfer-encoding",
        "user-agent",
    )
)
"""The headers that follow a redirect to another origin: any other one may be a credential."""


@asynccontextmanager
async def answered(
    ctx: ExecutorContext, client: HttpClient, config: HttpConfig
) -> AsyncGenerator[httpx.Response]:
    """The answer to a config's request, its body not read yet.

    Raises:
        NotAllowed: It would go to an address that is not reached.
        InvalidInput: There are too many redirects.
    """
    response = await _sent(ctx, client, config, retried=False)
    try:
        yield response
    finally:
        await response.aclose()


async def _sent(
    ctx: ExecutorContext, client: HttpClient, config: HttpConfig, *, retried: bool
) -> httpx.Response:
    proof, token = await _proof(ctx, client, config)
    response = await _followed(client.web, _request(ctx, client.web, config, proof), config.max_redirects)
    if response.status_code == 401 and token is not None and not retried:
        await _passed_over(response)
        assert isinstance(config.auth, OAuth2Auth)
        client.tokens.forget(config.auth, await secret_of(ctx, config.auth), token)
        return await _sent(ctx, client, config, retried=True)
    return response


async def _proof(
    ctx: ExecutorContext, client: HttpClient, config: HttpConfig
) -> tuple[dict[str, str], str | None]:
    """The headers that prove who calls, and the token in them if it was fetched."""
    auth = config.auth
    if auth is None:
        return {}, None
    secret = await secret_of(ctx, auth)
    match auth:
        case BearerAuth():
            return {"Authorization": f"Bearer {secret}"}, None
        case BasicAuth():
            return {"Authorization": basic(auth.username, secret)}, None
        case HeaderAuth():
            return {auth.name: secret}, None
        case OAuth2Auth():
            token = await client.tokens.get(client.web, auth, secret)
            ctx.hide(token)
            return {"Authorization": f"Bearer {token}"}, token


def _request(
    ctx: ExecutorContext, web: httpx.AsyncClient, config: HttpConfig, proof: Mapping[str, str]
) -> httpx.Request:
    body: dict[str, Any] = arguments(config)
    headers = {
        "Accept": "*/*",
        "Accept-Encoding": ACCEPTED,
        "User-Agent": "holdfast",
        **body.pop("headers", {}),
    }
    names = {name.lower(): name for name in headers}
    if config.method in _UNSAFE:
        headers["Idempotency-Key"] = ctx.idempotency_key
        names["idempotency-key"] = "Idempotency-Key"
    for name, value in (*config.headers.items(), *proof.items()):
        headers.pop(names.get(name.lower(), ""), None)
        headers[name] = value
    timeout = {
        "connect": config.timeouts.connect.total_seconds(),
        "read": config.timeouts.read.total_seconds(),
        "write": config.timeouts.read.total_seconds(),
        "pool": config.timeouts.connect.total_seconds(),
    }
    return web.build_request(
        config.method,
        with_query(_url(config.url), config.query),
        headers=headers,
        extensions={"timeout": timeout},
        **body,
    )


def _url(text: str) -> httpx.URL:
    import httpx

    try:
        return httpx.URL(text)
    except httpx.InvalidURL as error:
        raise InvalidInput(f"url: {text!r:.500}: {error}") from None


async def _followed(web: httpx.AsyncClient, request: httpx.Request, max_redirects: int) -> httpx.Response:
    import httpx

    hops = [str(request.url)]
    while True:
        try:
            response = await _traced(web, request)
        except httpx.InvalidURL as error:
            raise _no_url(hops[-1], str(error)) from None
        except httpx.RemoteProtocolError as error:
            if "URL in location header" not in str(error):  # which httpx tells by its text alone
                raise
            raise _no_url(hops[-1], str(error)) from None
        following = response.next_request
        if following is None or max_redirects == 0:
            return response
        await _passed_over(response)
        if len(hops) > max_redirects:
            ways = " to ".join(f"{url:.200}" for url in (hops[0], *hops[-2:]))
            raise InvalidInput(f"more than max_redirects={max_redirects} redirects: from {ways}, and on")
        _check_hop(request.url, following.url)
        if _origin(request.url) != _origin(following.url):
            for name in [name for name in following.headers if name.lower() not in _FOR_ANYBODY]:
                del following.headers[name]
        following.extensions = {"timeout": request.extensions["timeout"]}
        request = following
        hops.append(str(request.url))


async def _traced(web: httpx.AsyncClient, request: httpx.Request) -> httpx.Response:
    """Send one request, its headers telling of the trace that it belongs to; a header that the config sets stays."""
    url = request.url
    attributes: dict[str, Attribute | None] = {
        "http.request.method": request.method,
        "server.address": url.host,
        "server.port": url.port or (443 if url.scheme == "https" else 80),
        "url.full": str(url.copy_with(query=None, fragment=None, userinfo=b"")),
    }
    with outgoing(request.method, attributes) as call:
        if call.is_traced and "traceparent" not in request.headers:
            request.headers.update(call.headers)
        response = await web.send(request, stream=True)
        call.set({"http.response.status_code": response.status_code})
        if response.status_code >= 400:
            call.fail(str(response.status_code))
        return response


def _no_url(come_from: str, why: str) -> NotAllowed:
    return NotAllowed(f"the redirect from {come_from:.500} leads to what is no URL: {why}")


async def _passed_over(response: httpx.Response) -> None:
    """Read a short body that nobody wants, so that its connection can be used again, and leave a long one."""
    size_bytes = 0
    async for raw in response.aiter_raw():
        size_bytes += len(raw)
        if size_bytes > _PASSED_OVER_BYTES:
            break
    await response.aclose()


def _check_hop(come_from: httpx.URL, to: httpx.URL) -> None:
    problem = url_problem(str(to))
    if problem is None and (come_from.scheme, to.scheme) == ("https", "http"):
        problem = "it is not encrypted, and what redirected there was"
    if problem is not None:
        raise NotAllowed(
            f"the redirect from {come_from!s:.500} to {shown_url(str(to))} is not followed: {problem}"
        )


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port
