"""What is written down at a run's start."""

from __future__ import annotations

from typing import Any

from holdfast.authoring.workflow import Workflow

SPEC_MEMO = "holdfast.spec"
TRIGGER_MEMO = "holdfast.trigger"
"""Which trigger started the run (`name`), and how many runs in a row were started by one another's events (`depth`)."""


EMITTED_MEMO = "holdfast.emitted"
"""What the run has told last with `emit`: `event` and `payload`. The history keeps them all, each as an event."""


def spec_memo(definition: Workflow[..., Any], *, stored: bool, restart: str | None = None) -> dict[str, Any]:
    """What is written down at a run's start, since it decides on its history. No time limit is written down too: one
    that the code gets later must not reach open runs.

    Args:
        definition: The workflow.
        stored: Whether large payloads go to a storage.
        restart: Tells a run that was started again under its id from the one before, in the ids of its calls and so
            in the idempotency keys of its steps.
    """
    timeout = definition.options.timeout
    spec: dict[str, Any] = {"timeout": timeout.total_seconds() if timeout else None}
    if not stored:
        spec["stored"] = False
    if restart:
        spec["restart"] = restart
    return {SPEC_MEMO: spec}
