"""How an http call proves who it is. Configs hold the names of secrets, never secrets."""

from __future__ import annotations

import base64
import re
from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field

from holdfast import ExecutorContext, InvalidInput

SecretName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,127}$")]
_NOT_IN_HEADERS: Final = re.compile(r"[^\t\x20-\x7e]")


class BearerAuth(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """`Authorization: Bearer <secret>`."""

    type: Literal["bearer"] = "bearer"
    """`bearer`."""
    secret: SecretName
    """The name of the secret that is the token."""


class BasicAuth(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """User name and password, as RFC 7617 has them."""

    type: Literal["basic"] = "basic"
    """`basic`."""
    username: str
    """The user name."""
    secret: SecretName
    """The name of the secret that is the password."""


class HeaderAuth(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """A secret in a header of its own, such as `X-Api-Key`."""

    type: Literal["header"] = "header"
    """`header`."""
    name: str
    """The header."""
    secret: SecretName
    """The name of the secret that is the header's value."""


class OAuth2Auth(BaseModel, extra="forbid", use_attribute_docstrings=True):
    """Client credentials, as RFC 6749, section 4.4 has them. A worker fetches one token for all calls with the same
    client and scope, and a new one when it expires or is refused with 401."""

    type: Literal["oauth2"] = "oauth2"
    """`oauth2`."""
    token_url: str
    """Where tokens are fetched."""
    client_id: str
    """The client."""
    secret: SecretName
    """The name of the secret that is the client's secret."""
    scope: str = ""
    """The scopes to ask for, separated by spaces. Default: what the service gives without."""
    audience: str = ""
    """For services that ask for an `audience`. Default: none."""
    credentials: Literal["basic", "form"] = "basic"
    """Whether the client's id and secret are sent as basic authentication or in the form."""


HttpAuth = Annotated[BearerAuth | BasicAuth | HeaderAuth | OAuth2Auth, Field(discriminator="type")]


async def secret_of(ctx: ExecutorContext, auth: HttpAuth) -> str:
    """The secret that an `auth` names, fit for a header.

    Raises:
        NotFound: There is none of that name.
        InvalidInput: It has characters that no header may have.
    """
    value = await ctx.secrets.get(auth.secret)
    bad = None if isinstance(auth, BasicAuth | OAuth2Auth) else _NOT_IN_HEADERS.search(value)
    if bad is not None:
        raise InvalidInput(
            f"the secret {auth.secret!r} has a character that no header may have, {bad.group()!r} at position "
            f"{bad.start()}: is there a line break at its end?"
        )
    return value


def basic(username: str, password: str) -> str:
    """The value of `Authorization` for a user name and a password."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode("ascii")
