"""The contract that every executor keeps, as checks that its package runs over itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from holdfast.authoring.catalogue import entry_of
from holdfast.authoring.executor import Executor
from holdfast.spec.check_config import compile_schema
from holdfast.testing.executor_bench import Bench, Ended
from holdfast.testing.executor_cases import ExecutorCase as ExecutorCase
from holdfast.testing.executor_cases import cases_of, check_executor, check_overrides, check_secrets

CANCEL_SECONDS = 1.0
"""How soon an attempt ends after it was cancelled."""

MIN_BAD: Final = 5
"""Missing and unknown fields, wrong types and values, and what only the service refuses: fewer leave some out."""


@dataclass(frozen=True)
class ContractCheck:
    """One check. Call it: it raises `AssertionError` when the executor breaks the contract."""

    name: str
    run: Callable[[], Coroutine[Any, Any, None]] = field(repr=False)

    def __str__(self) -> str:
        return self.name

    def __call__(self) -> None:
        """Run it, in an event loop of its own."""
        asyncio.run(self.run())


def executor_contract(
    executor: type[Executor[Any, Any]],
    *,
    good: Sequence[Mapping[str, Any] | ExecutorCase],
    bad: Sequence[Mapping[str, Any] | ExecutorCase],
    slow: Mapping[str, Any] | ExecutorCase | None = None,
    secrets: Mapping[str, str] | None = None,
    overrides: Mapping[Callable[[], Any], Any] | None = None,
) -> list[ContractCheck]:
    """The checks of an executor. They need no server: attempts run as a worker runs them.

    What is checked: the schema is JSON Schema and refuses unknown fields, in objects inside the config too; every field
    of config and output says what it means; `validate` and `limit` give what they should; good cases fit the schema,
    succeed, keep nothing in the executor, and give what travels as JSON; bad ones are refused before a run or fail for
    good, with an error that travels; an idempotent executor succeeds again under the same key; a slow one ends within a
    second of its cancel; no secret is in outputs, errors, logs, progress or on standard output.

    Args:
        executor: The class.
        good: Configs, or cases with an input, that succeed. At least one.
        bad: Those that do not. At least five, no two the same.
        slow: One that takes longer than two seconds, for the cancel.
        secrets: The secrets that the cases use, of six characters or more. Without any, nothing is checked of them.
        overrides: Values in place of what `ctx.get(provider)` gives, such as a client of a fake service.

    Raises:
        InvalidInput: What is given is not enough, or would not check what it seems to.

    Example:
        ```python
        CHECKS = executor_contract(
            Shout,
            good=[{"text": "hi"}],
            bad=[{}, {"text": 1}, {"text": ""}, {"text": "hi", "loud": 1}, {"text": "x" * 9999}],
        )

        @pytest.mark.parametrize("check", CHECKS, ids=str)
        def test_contract(check: ContractCheck) -> None:
            check()
        ```
    """
    check_executor(executor)
    check_secrets(secrets or {})
    check_overrides(overrides or {})
    good_cases, bad_cases = cases_of("good", good, 1), cases_of("bad", bad, MIN_BAD)
    contract = _Contract(executor, dict(secrets or {}), dict(overrides or {}))
    checks = [
        ContractCheck("every field is documented", contract.documented),
        ContractCheck("unknown fields are refused", contract.closed),
    ]
    for index, case in enumerate(good_cases):
        checks += [
            ContractCheck(f"good {index} succeeds", _bound(contract.succeeds, case)),
            ContractCheck(
                f"good {index} leaves nothing in the executor", _bound(contract.is_stateless, case)
            ),
        ]
        if executor.options.idempotent:
            checks.append(ContractCheck(f"good {index} succeeds again", _bound(contract.repeats, case)))
    checks += [
        ContractCheck(f"bad {index} is refused for good", _bound(contract.refuses, case))
        for index, case in enumerate(bad_cases)
    ]
    if secrets:
        checks += [
            ContractCheck(f"{name} {index} shows no secret", _bound(contract.keeps_secrets, case))
            for name, cases in (("good", good_cases), ("bad", bad_cases))
            for index, case in enumerate(cases)
        ]
    if slow is not None:
        [case] = cases_of("slow", [slow], 1)
        checks.append(ContractCheck("a cancel ends it", _bound(contract.cancels, case)))
    return checks


def _bound(
    check: Callable[[ExecutorCase], Coroutine[Any, Any, None]], case: ExecutorCase
) -> Callable[[], Coroutine[Any, Any, None]]:
    return lambda: check(case)


class _Contract:
    def __init__(
        self,
        executor: type[Executor[Any, Any]],
        secrets: Mapping[str, str],
        overrides: Mapping[Callable[[], Any], Any],
    ) -> None:
        self.executor = executor
        self.entry = entry_of(executor)
        self.secrets = secrets
        self.overrides = overrides

    def bench(self) -> Bench:
        return Bench(self.executor, self.secrets, self.overrides)

    async def documented(self) -> None:
        assert self.entry.description, f"{self.executor.__qualname__} has no docstring"
        missing = [*_undocumented(self.entry.config_schema), *_undocumented(self.entry.output_schema)]
        assert not missing, (
            f"fields without a description: {', '.join(missing)}; write a docstring under each and "
            "use_attribute_docstrings=True, or Field(description=...)"
        )

    async def closed(self) -> None:
        compile_schema(self.entry.config_schema)  # which says if it is no schema
        models = _models(self.entry.config_schema)
        taking = [
            title
            for title, model in models.items()
            if "properties" in model and "additionalProperties" not in model
        ]
        assert not taking, (
            f'{", ".join(taking)} takes unknown fields, so that a misspelt one would be ignored: write extra="forbid"'
        )

    async def succeeds(self, case: ExecutorCase) -> None:
        problems = compile_schema(self.entry.config_schema)(dict(case.config))
        assert not problems, f"the schema refuses {case.config!r}: {problems[0][0]}"
        async with self.bench() as bench:
            ended = await bench.attempt(case.config, case.input)
            assert ended.error is None, f"{case.config!r} failed: {ended.error}"
            bench.check_methods()
            again = await bench.read_and_write(ended.output)
        assert again == ended.output.data, (
            f"the output is another after it was read and written: {ended.output.data!r}, then {again!r}"
        )
        wrong = compile_schema(self.entry.output_schema)(_json(ended.output.data))
        assert not wrong, f"the output does not fit its own schema: {wrong[0][0]}"

    async def repeats(self, case: ExecutorCase) -> None:
        async with self.bench() as bench:
            first = await bench.attempt(case.config, case.input)
            second = await bench.attempt(case.config, case.input, number=2)
        assert first.keys == second.keys, f"the idempotency key changed: {first.keys} then {second.keys}"
        assert second.error is None, f"it says that it is idempotent, and attempt 2 failed: {second.error}"

    async def is_stateless(self, case: ExecutorCase) -> None:
        async with self.bench() as bench:
            before = _of_class(bench.executor)
            await bench.attempt(case.config, case.input)
            kept, after = vars(bench.executor), _of_class(bench.executor)
        fresh = vars(self.executor())
        changed = [name for name in after if name not in before or before[name] is not after[name]]
        left = sorted(name for name in kept if name not in fresh or repr(kept[name]) != repr(fresh[name]))
        assert not left, f"an attempt left {', '.join(left)} in the executor, which all attempts share"
        assert not changed, f"an attempt changed {', '.join(changed)} of the class, which all attempts share"

    async def keeps_secrets(self, case: ExecutorCase) -> None:
        async with self.bench() as bench:
            ended = await bench.attempt(case.config, case.input)
        for name, value in self.secrets.items():
            shown = [where for where, text in ended.written.items() if value in text]
            assert not shown, f"the value of the secret {name!r} is in {', '.join(shown)}"

    async def refuses(self, case: ExecutorCase) -> None:
        async with self.bench() as bench:
            ended = await bench.attempt(case.config, case.input)
            bench.check_methods()
        assert ended.error is not None, f"{case.config!r} succeeded: {ended.output.data[:200]!r}"
        assert ended.error.non_retryable, (
            f"{case.config!r} would be tried again: {ended.error}; raise Permanent, or InvalidInput from validate"
        )
        assert ended.error.message, f"{case.config!r} failed without a message"

    async def cancels(self, case: ExecutorCase) -> None:
        async with self.bench() as bench:
            attempt = asyncio.create_task(bench.attempt(case.config, case.input))
            await asyncio.wait([attempt], timeout=CANCEL_SECONDS)
            assert not attempt.done(), f"{case.config!r} was meant to be slow, and ended: {_end(attempt)}"
            bench.cancel()
            done, _ = await asyncio.wait([attempt], timeout=CANCEL_SECONDS)
            assert done, f"it went on for more than {CANCEL_SECONDS:g} s after its cancel"
            ended = attempt.result()
        assert ended.cancelled, f"it took its cancel for something else: {_end(attempt)}"


def _of_class(executor: Executor[Any, Any]) -> dict[str, object]:
    """What its classes hold, down to `Executor`."""
    classes = type(executor).__mro__
    return {
        name: value
        for cls in reversed(classes[: classes.index(Executor)])
        for name, value in vars(cls).items()
    }


def _end(attempt: asyncio.Task[Ended]) -> str:
    ended = attempt.result()
    return str(ended.error or ended.output.data[:200])


def _json(data: bytes) -> Any:
    from pydantic_core import from_json

    return from_json(data) if data else None


def _undocumented(schema: Mapping[str, Any]) -> list[str]:
    """The fields of a schema, and of all it refers to, that no sentence explains."""
    return [
        f"{title}.{name}"
        for title, model in _models(schema).items()
        for name, described in model.get("properties", {}).items()
        if not described.get("description")
    ]


def _models(schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """A schema and all that it refers to, by name."""
    return {schema.get("title", "it"): schema, **schema.get("$defs", {})}
