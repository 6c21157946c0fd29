"""The secrets in what an output says of the call that follows: markers travel in their place.

A service may name its next page by a URL that holds the key it was asked with. The key must not be recorded, and the
next call needs it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus

from holdfast.authoring.next_call import NextCall, ToolCall
from holdfast.errors import InvalidInput
from holdfast.redaction import RESULT_CHARS, Redactor
from holdfast.secrets import Secrets
from holdfast.spec.cel_values import is_list, is_map

_MARKER: Final = re.compile(r"\{\{ secrets\.([A-Za-z0-9_-]+)(?: as ([a-z]+))? \}\}", re.ASCII)


def _lower(text: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), text)


_FORMS: Final[Mapping[str, Callable[[str], str]]] = {
    "": str,
    "url": lambda value: quote(value, safe=""),
    "path": quote,
    "form": quote_plus,
    "urllower": lambda value: _lower(quote(value, safe="")),
    "pathlower": lambda value: _lower(quote(value)),
    "formlower": lambda value: _lower(quote_plus(value)),
}
"""How a secret stands in a URL, by the name in its marker."""


def marked(following: NextCall, secrets: Secrets, redactor: Redactor) -> NextCall:
    """The call that follows, with markers in the place of the secrets that this attempt asked for, and `***` in what is
    given to tools.

    Args:
        following: As the executor said it.
        secrets: Those of the attempt.
        redactor: Knows what must not be recorded.

    Raises:
        InvalidInput: It holds a secret in a form that a marker cannot name, or what only looks like a marker.
    """
    ways: dict[str, str] = {}
    for name, value in secrets.given.items():
        if len(value) < RESULT_CHARS:
            continue
        for form, write in _FORMS.items():
            ways.setdefault(write(value), f"{{{{ secrets.{name}{f' as {form}' if form else ''} }}}}")
    pattern = re.compile("|".join(map(re.escape, sorted(ways, key=len, reverse=True)))) if ways else None

    def mark(text: str) -> str:
        if (found := _MARKER.search(text)) is not None:
            raise InvalidInput(
                f"the call that follows would hold {found[0]!r}, which came with an answer: only a config names secrets"
            )
        return text if pattern is None else pattern.sub(lambda found: ways[found[0]], text)

    patch = _each(following.patch, mark)
    if redactor.value(patch) != patch:
        raise InvalidInput(
            "the call that follows would hold a secret in a form in which it cannot be put in again, and it is never "
            "recorded: let the service take the secret from a header, by `auth`, and say its next page without it"
        )
    calls = [ToolCall.model_validate(redactor.value(one.model_dump(mode="json"))) for one in following.calls]
    return following.model_copy(update={"patch": patch, "calls": calls})


async def unmarked(patch: object, config: object, named: frozenset[str], secrets: Secrets) -> Any:
    """A patch with the secrets in the place of their markers.

    Args:
        patch: As `marked` made it.
        config: Of the first call, rendered: names of secrets stand in it, such as `auth.secret`.
        named: The secrets that its templates use.
        secrets: Where they come from.

    Raises:
        InvalidInput: A marker names a secret that the config does not.
        NotFound: There is no such secret any more.
    """
    wanted = {found[1] for text in texts(patch) for found in _MARKER.finditer(text)}
    if not wanted:
        return patch
    if strange := sorted(wanted - named - set(texts(config))):
        raise InvalidInput(
            f"the call that follows asks for the secret {strange[0]!r}, which its config does not name"
        )
    values = {name: await secrets.get(name) for name in sorted(wanted)}
    return _each(
        patch, lambda text: _MARKER.sub(lambda found: _FORMS[found[2] or ""](values[found[1]]), text)
    )


def _each(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if is_map(value):
        return {key: _each(item, change) for key, item in value.items()}
    return [_each(item, change) for item in value] if is_list(value) else value


def texts(value: Any) -> Iterator[str]:
    """Every string of a JSON value; of objects, the members without their names."""
    if isinstance(value, str):
        yield value
    elif is_map(value):
        for item in value.values():
            yield from texts(item)
    elif is_list(value):
        for item in value:
            yield from texts(item)
