"""Described runs, made up: one by hand, or many by chance."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from holdfast.client.description import ErrorInfo, Preview, RunDescription, StepDescription, WaitDescription
from holdfast.states import RunState, StepState
from holdfast.store.rows import IndexedRun, Usage

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def made(run_id: str = "order-1", *, usage: dict[str, Usage] | None = None, **changes: Any) -> IndexedRun:
    """A completed run of one step. Names of `IndexedRun` and of `RunDescription` may be given."""
    own = {name: changes.pop(name) for name in list(changes) if name in IndexedRun.__dataclass_fields__}
    started = changes.get("started", START)
    described = RunDescription(
        **{
            "id": run_id,
            "workflow": "fulfil",
            "state": RunState.COMPLETED,
            "queue": "default",
            "execution_id": f"{run_id}/1",
            "started": started,
            "closed": started + timedelta(seconds=3),
            "steps": [a_step(begun=started)],
            "history_event_count": 11,
            **changes,
        }
    )
    own.setdefault("observed", started + timedelta(seconds=5))
    return IndexedRun(run=described, usage=usage or {}, **own)


def a_step(name: str = "charge", *, begun: datetime = START, **changes: Any) -> StepDescription:
    """A completed step, scheduled at `begun`."""
    ordinal = changes.get("ordinal", 1)
    facts = {
        "name": name,
        "ordinal": ordinal,
        "activity_id": f"{name}-{ordinal}",
        "state": StepState.COMPLETED,
        "attempt": 1,
        "scheduled": begun,
        "started": begun + timedelta(seconds=1),
        "closed": begun + timedelta(seconds=2),
        "queue": "default",
        "worker": "1@host",
        "input": [shown('{"total": 12}')],
        "result": shown('"ok"'),
    }
    return StepDescription(**{**facts, **changes})


def shown(text: str) -> Preview:
    """A payload, all of it."""
    return Preview(text=text, size_bytes=len(text.encode("utf-8", "surrogatepass")), complete=True)


def failed(
    run_id: str, message: str, *, kind: str = "ConnectionError", step: str = "charge", **changes: Any
) -> IndexedRun:
    """A run that failed with one of its steps."""
    error = ErrorInfo(type=kind, message=message)
    started = changes.get("started", START)
    steps = [
        a_step(
            step,
            begun=started,
            state=StepState.FAILED,
            attempt=3,
            error=error,
            last_failure=error,
            result=None,
        )
    ]
    return made(run_id, **{"state": RunState.FAILED, "error": error, "steps": steps, **changes})


def still_open(run_id: str = "order-1", **changes: Any) -> IndexedRun:
    """A run that waits for an approval."""
    wait = WaitDescription(
        name="ship", kind="approval", prompt="Ship it?", form={"type": "object"}, since=START
    )
    facts = {
        "state": RunState.WAITING,
        "closed": None,
        "waits": [wait],
        "history_event_count": 7,
        "observed": START,
    }
    return made(run_id, **{**facts, **changes})


def by_chance(seed: int, count: int, *, days: int = 3) -> list[IndexedRun]:
    """Runs of all kinds, some of several executions, some told twice."""
    chance = random.Random(seed)
    told: list[IndexedRun] = []
    for number in range(count):
        start = START + timedelta(microseconds=chance.randrange(days * 86_400_000_000))
        run_id = f"run-{number}"
        chain = chance.choice([1, 1, 1, 1, 2, 3])
        for part in range(chain):
            one = _execution(chance, run_id, part, start)
            told.append(one)
            if chance.random() < 0.3:
                told.append(_earlier(chance, one))
            start += timedelta(seconds=chance.uniform(1, 7000))
    return told


def _execution(chance: random.Random, run_id: str, part: int, start: datetime) -> IndexedRun:
    state = chance.choice([*RunState, RunState.COMPLETED, RunState.COMPLETED])
    steps = _steps(chance, start)
    took = timedelta(seconds=chance.lognormvariate(1, 2))
    error = chance.choice([ErrorInfo(type="ValueError", message=f"no {chance.randrange(9)}"), None])
    return IndexedRun(
        run=RunDescription(
            id=run_id,
            workflow=chance.choice(["fulfil", "refund", "nightly"]),
            state=state,
            queue=chance.choice(["default", "slow"]),
            execution_id=f"{run_id}/{part}",
            started=start,
            closed=start + took if state.closed else None,
            error=error if state is RunState.FAILED else None,
            steps=steps,
            history_event_count=chance.randrange(5, 500),
            build_id=chance.choice([None, "v1", "v2"]),
            parent=chance.choice([None, None, "run-0"]),
        ),
        observed=start + timedelta(hours=3),
        # A restarted run is a chain of its own.
        first_execution_id=f"{run_id}/0" if chance.random() < 0.8 else None,
        first_task=start + timedelta(seconds=chance.uniform(0, 2)),
        usage={
            step.activity_id: Usage(tokens=chance.randrange(900), cost_micros=chance.randrange(90_000))
            for step in steps
        },
    )


def _steps(chance: random.Random, start: datetime) -> Sequence[StepDescription]:
    steps: list[StepDescription] = []
    for number in range(chance.randrange(5)):
        state = chance.choice(list(StepState))
        begun = start + timedelta(seconds=chance.uniform(0, 1))
        error = ErrorInfo(type=chance.choice(["TimeoutError", "KeyError"]), message=f"at {number}")
        steps.append(
            a_step(
                chance.choice(["charge", "ship"]),
                ordinal=number + 1,
                state=state,
                attempt=chance.choice([1, 1, 1, 2, 5]),
                scheduled=start,
                started=None if state is StepState.PENDING else begun,
                closed=begun + timedelta(seconds=chance.lognormvariate(0, 2)) if state.closed else None,
                error=error if state is StepState.FAILED else None,
            )
        )
    return steps


def _earlier(chance: random.Random, one: IndexedRun) -> IndexedRun:
    """The same execution as it was told before."""
    run = replace(
        one.run,
        state=RunState.RUNNING,
        closed=None,
        error=None,
        steps=_steps(chance, one.run.started or START),
        history_event_count=one.run.history_event_count - chance.randrange(1, 4),
    )
    return replace(one, run=run, observed=one.observed - timedelta(hours=1))
