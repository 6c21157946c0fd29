"""Tokens for client credentials: fetched once for all calls of a worker, and again when they no longer hold."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import quote_plus

from pydantic import BaseModel, ValidationError

from holdfast import Permanent, Unavailable
from holdfast_executors.http_auth import OAuth2Auth, basic
from holdfast_executors.http_failures import excerpt, failure_of, is_transient

if TYPE_CHECKING:
    import httpx

_Key: TypeAlias = tuple[str, ...]

_UNKNOWN_LIFE_SECONDS: Final = 300.0
_MARGIN_SECONDS: Final = 30.0
_MAX_ANSWER_BYTES: Final = 64 * 1024


class _Answer(BaseModel):
    access_token: str
    expires_in: float | None = None


@dataclass(frozen=True)
class _Token:
    text: str
    until: float


class Tokens:
    """The tokens of one worker."""

    def __init__(self) -> None:
        self._held: dict[_Key, _Token] = {}
        self._fetching: defaultdict[_Key, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def get(self, web: httpx.AsyncClient, auth: OAuth2Auth, secret: str) -> str:
        """A token that holds, fetched if there is none; many calls at once fetch one.

        Raises:
            Permanent: The service refuses the client.
            Unavailable, RetryAfter: It does not answer, or not now.
        """
        key = _key(auth, secret)
        async with self._fetching[key]:
            held = self._held.get(key)
            if held is None or held.until <= time.monotonic():
                held = self._held[key] = await _fetch(web, auth, secret)
            return held.text

    def forget(self, auth: OAuth2Auth, secret: str, token: str) -> None:
        """A service refused the token; one that was fetched meanwhile stays."""
        key = _key(auth, secret)
        held = self._held.get(key)
        if held is not None and held.text == token:
            del self._held[key]


def _key(auth: OAuth2Auth, secret: str) -> _Key:
    # A secret that was changed has tokens of its own, and is not kept itself.
    digest = hashlib.sha256(secret.encode()).hexdigest()
    return (auth.token_url, auth.client_id, auth.scope, auth.audience, auth.credentials, digest)


async def _fetch(web: httpx.AsyncClient, auth: OAuth2Auth, secret: str) -> _Token:
    form: dict[str, Any] = {"grant_type": "client_credentials"}
    form |= {name: value for name in ("scope", "audience") if (value := getattr(auth, name))}
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    if auth.credentials == "basic":
        headers["Authorization"] = basic(quote_plus(auth.client_id), quote_plus(secret))
    else:
        form |= {"client_id": auth.client_id, "client_secret": secret}
    where = f"the token service {auth.token_url}"
    async with web.stream("POST", auth.token_url, data=form, headers=headers) as response:
        body = b""
        async for part in response.aiter_raw():
            body += part
            if len(body) > _MAX_ANSWER_BYTES:
                raise Unavailable(f"{where} answered with more than {_MAX_ANSWER_BYTES} bytes")
    if not response.is_success:
        if is_transient(response.status_code):
            raise failure_of(where, response.status_code, response.headers, body)
        raise Permanent(
            f"{where} refused client {auth.client_id!r} with {response.status_code}: {excerpt(body)}"
        )
    try:
        answer = _Answer.model_validate_json(body)
    except ValidationError:
        raise Unavailable(f"{where} answered {response.status_code} without an access_token") from None
    life = answer.expires_in or _UNKNOWN_LIFE_SECONDS
    return _Token(answer.access_token, time.monotonic() + life - min(_MARGIN_SECONDS, life / 10))
