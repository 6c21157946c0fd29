"""The rules of the audit: one table of codes, meanings and levels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from holdfast.spec.audit.level import ERROR, LEVELS, OFF, WARNING, Grade, Level
from holdfast.spec.finding import Severity


class Rule(NamedTuple):
    """One rule."""

    meaning: str
    """What is wrong."""
    normal: Grade
    strict: Grade
    paranoid: Grade
    pedantic: Grade

    @property
    def grades(self) -> tuple[Grade, ...]:
        """One for each level, in their order."""
        return self[1:]


RULES: Final[Mapping[str, Rule]] = {
    "HF-A001": Rule("no start", ERROR, ERROR, ERROR, ERROR),
    "HF-A002": Rule("no end", ERROR, ERROR, ERROR, ERROR),
    "HF-A003": Rule("a node that never runs", WARNING, ERROR, ERROR, ERROR),
    "HF-A004": Rule("a node without any edge", OFF, WARNING, WARNING, WARNING),
    "HF-A005": Rule("a switch without a default", Grade(1, 5), Grade(1, 3), Grade(1, 2), ERROR),
    "HF-A006": Rule("a switch with many cases", Grade(20, 50), Grade(12, 30), Grade(8, 20), Grade(6, 12)),
    "HF-A007": Rule("a case that is never chosen", WARNING, ERROR, ERROR, ERROR),
    "HF-A008": Rule("a wait without a timeout", WARNING, ERROR, ERROR, ERROR),
    "HF-A009": Rule("a node without a timeout of its own", OFF, OFF, WARNING, ERROR),
    "HF-A010": Rule("retries without end", WARNING, ERROR, ERROR, ERROR),
    "HF-A011": Rule("an effect that nothing undoes or makes safe to repeat", OFF, WARNING, ERROR, ERROR),
    "HF-A012": Rule("a dependency that follows from others", OFF, WARNING, WARNING, ERROR),
    "HF-A013": Rule("a local step that is not stated to be idempotent", OFF, WARNING, WARNING, ERROR),
    "HF-A014": Rule("a budget that waits for somebody without end", OFF, OFF, OFF, WARNING),
    "HF-A020": Rule("a clock in workflow code", ERROR, ERROR, ERROR, ERROR),
    "HF-A021": Rule("chance in workflow code", ERROR, ERROR, ERROR, ERROR),
    "HF-A022": Rule("I/O in workflow code", ERROR, ERROR, ERROR, ERROR),
    "HF-A023": Rule("threads, processes or executors in workflow code", ERROR, ERROR, ERROR, ERROR),
    "HF-A024": Rule("a sleep that blocks", ERROR, ERROR, ERROR, ERROR),
    "HF-A025": Rule("the environment in workflow code", ERROR, ERROR, ERROR, ERROR),
    "HF-A026": Rule("the order of a set", ERROR, ERROR, ERROR, ERROR),
    "HF-A027": Rule("a global that changes", ERROR, ERROR, ERROR, ERROR),
    "HF-A028": Rule("cancellation is swallowed", ERROR, ERROR, ERROR, ERROR),
    "HF-A029": Rule("output that every replay repeats", OFF, WARNING, WARNING, ERROR),
    "HF-A030": Rule("tasks in an order of their own", WARNING, ERROR, ERROR, ERROR),
    "HF-A031": Rule("a value that differs from process to process", WARNING, ERROR, ERROR, ERROR),
    "HF-A090": Rule("an exception without a reason", WARNING, WARNING, WARNING, WARNING),
    "HF-A091": Rule("an exception that nothing needs", WARNING, WARNING, WARNING, WARNING),
}
"""By code; `docs/guide/audit.md` has the same table, and an example for each."""

MEANINGS: Final = {code: rule.meaning for code, rule in RULES.items()}


def severity(code: str, level: Level, count: int = 1) -> Severity | None:
    """What a finding is at a level; `None` if the rule is off there.

    Args:
        code: The rule.
        level: How strict.
        count: Of what the rule counts, for example cases of a switch.
    """
    return RULES[code].grades[LEVELS.index(level)].severity(count)
