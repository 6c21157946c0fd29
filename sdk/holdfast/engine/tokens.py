"""The tokens of deferred steps: Temporal's task token, with the step's name so that a result can be checked."""

from __future__ import annotations

import base64
import binascii

from holdfast.errors import InvalidInput

_SHOWN = 20


def make_token(step: str, task_token: bytes) -> str:
    """The token of one attempt.

    Args:
        step: The name that the step is served under.
        task_token: Temporal's.
    """
    return base64.urlsafe_b64encode(step.encode() + b"\0" + task_token).decode()


def read_token(token: object) -> tuple[str, bytes]:
    """The step's name and Temporal's task token.

    Raises:
        InvalidInput: It is not what `make_token` makes.
    """
    if isinstance(token, str):
        try:
            decoded = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
            name, _, task_token = decoded.partition(b"\0")
            if name and task_token:
                return name.decode(), task_token
        except (binascii.Error, ValueError):
            pass
    shown = repr(token)
    shown = f"{shown[:_SHOWN]}..." if len(shown) > _SHOWN else shown
    raise InvalidInput(f"token={shown} is no step token: use step_info().token as it is")
