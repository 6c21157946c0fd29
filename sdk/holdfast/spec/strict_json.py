"""JSON as RFC 8259 has it, and no more: no NaN, duplicate keys or lone surrogates, nothing too deep."""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

from holdfast.spec.plain import MAX_DEPTH, MAX_INT, check_plain, problem
from holdfast.spec.source import Path, json_tokens, place_at, refusal

MAX_JSON_BYTES: Final = 8 * 1024 * 1024
"""No JSON document is larger: 10,000 nodes need one to two MiB."""


class _Refused(Exception):
    pass


def _constant(_text: str) -> NoReturn:
    raise _Refused


def _whole(text: str) -> int:
    if len(text) > 20:
        raise _Refused
    return int(text)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise _Refused
    return made


_DECODER: Final = json.JSONDecoder(parse_constant=_constant, parse_int=_whole, object_pairs_hook=_unique)


def decode_text(data: str | bytes, max_bytes: int) -> str:
    """The text of a document that is UTF-8 and not too large.

    Raises:
        InvalidInput: It is not.
    """
    try:
        if isinstance(data, str):
            text, size_bytes = data, len(data.encode())
        else:
            size_bytes = len(data)
            text = data[: max_bytes + 1].decode("utf-8-sig") if size_bytes <= max_bytes else ""
    except UnicodeDecodeError as error:
        raise refusal(f"not UTF-8: byte {error.object[error.start]:#04x} at position {error.start}") from None
    except UnicodeEncodeError as error:
        raise refusal(
            "half of a surrogate pair is no character", place_at(error.object, error.start)
        ) from None
    if size_bytes > max_bytes:
        raise refusal(f"the document has {size_bytes} bytes; at most {max_bytes} are read")
    return text


def parse_json(data: str | bytes, *, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """The value of a JSON text.

    Raises:
        InvalidInput: It is not strict JSON, or too deep or too large; with `line` and `column` in `details`.
    """
    text = decode_text(data, max_bytes)
    try:
        return check_plain(_DECODER.decode(text))
    except json.JSONDecodeError as error:
        raise refusal(f"not JSON: {error.msg}", (error.lineno, error.colno)) from None
    except (_Refused, RecursionError, ValueError):
        raise _reason(text) from None


def _reason(text: str) -> Exception:
    """What is wrong with a text that the decoder could follow but must not accept."""
    keys: set[Path] = set()
    for token in json_tokens(text):
        if token.is_key and token.path in keys:
            reason: str | None = f"the key {token.path[-1]!r} is here twice"
        elif token.text in ("{", "["):
            reason = (
                f"lists and objects are nested more than {MAX_DEPTH} deep"
                if len(token.path) >= MAX_DEPTH
                else None
            )
        elif token.text in ("NaN", "Infinity", "-Infinity"):
            reason = f"{token.text} is not JSON"
        else:
            reason = problem(_scalar(token.text))
        keys |= {token.path} if token.is_key else set()
        if reason:
            return refusal(reason, place_at(text, token.offset))
    return refusal("not JSON that can be read")


def _scalar(text: str) -> str | float | None:
    if text[0] == '"':
        return str(json.loads(text, strict=False))
    if text in ("true", "false", "null"):
        return None
    if text.lstrip("-").isdigit():
        return int(text) if len(text) <= 20 else MAX_INT + 1
    return float(text)
