"""What of a run's values is not written into a file for others: fields that are called like secrets, and known secrets.

Secrets that executors use never come into a history; this is for what users put there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final

from pydantic import JsonValue

from holdfast.client.description import Preview
from holdfast.redaction import HIDDEN, Redactor

_WORDS: Final = (
    r"password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|authorization|cookie|"
    r"credentials?|client[_-]?secret|session[_-]?id"
)
_NAME: Final = re.compile(rf"(?:^|[_-])(?:{_WORDS})(?:$|[_-])", re.IGNORECASE)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_IN_TEXT: Final = re.compile(r'("((?:[^"\\]|\\.){1,80})"\s*:\s*)("(?:[^"\\]|\\.)*"?|[^\s,}\]]+)')


class Hiding:
    """Hides values.

    Args:
        secrets: Values that are hidden wherever they stand.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._redactor = Redactor()
        for secret in secrets:
            self._redactor.add(secret)

    def text(self, text: str) -> str:
        """A text, such as a message or the beginning of a JSON value."""
        return self._redactor.text(_IN_TEXT.sub(_hidden_field, text))

    def preview(self, preview: Preview) -> str:
        """A payload as JSON text."""
        if not preview.complete:
            return self.text(preview.text)
        return self.text(json.dumps(self.value(preview.value), ensure_ascii=False, indent=1))

    def value(self, value: JsonValue) -> JsonValue:
        """A plain JSON value."""
        if isinstance(value, dict):
            return {
                name: HIDDEN if _is_secret(name) and held is not None else self.value(held)
                for name, held in value.items()
            }
        return [self.value(item) for item in value] if isinstance(value, list) else value


def _is_secret(name: str) -> bool:
    return _NAME.search(_CAMEL.sub("_", name)) is not None


def _hidden_field(found: re.Match[str]) -> str:
    return f'{found[1]}"{HIDDEN}"' if _is_secret(found[2]) and found[3] != "null" else found[0]
