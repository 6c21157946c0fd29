"""Run ids that users give."""

from __future__ import annotations

import re
from typing import cast

from holdfast.errors import InvalidInput

MAX_ID_LENGTH = 200
_ID = re.compile(r"[A-Za-z0-9._:-]+")


def check_id(run_id: str) -> str:
    """A run id that is safe everywhere it is shown or used.

    Raises:
        InvalidInput: It is empty, over 200 characters, or holds others than letters, digits and `._:-`.
    """
    if not isinstance(cast("object", run_id), str):
        raise InvalidInput(f"id={run_id!r}: a run id is a text, such as id={str(run_id)!r}")
    if not run_id:
        raise InvalidInput("id='': a run id has at least one character")
    if len(run_id) > MAX_ID_LENGTH:
        raise InvalidInput(
            f"id={run_id[:20]!r}... has {len(run_id)} characters; at most {MAX_ID_LENGTH} are allowed"
        )
    if not _ID.fullmatch(run_id) or set(run_id) <= {"."}:
        raise InvalidInput(f"id={run_id!r}: use letters, digits and . _ : - only")
    return run_id
