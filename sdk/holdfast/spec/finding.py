"""What is wrong with a document: a code, the node, and what to do."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from holdfast.errors import InvalidInput

Severity: TypeAlias = Literal["error", "warning"]

CODES: Final[dict[str, str]] = {
    "HF-D001": "the form of the document is wrong",
    "HF-D002": "an id is not an identifier",
    "HF-D003": "an id is a reserved word",
    "HF-D004": "two nodes have one id",
    "HF-D005": "two ids look alike",
    "HF-D006": "the document has no nodes",
    "HF-D007": "two approvals under one name",
    "HF-D010": "a dependency names no node",
    "HF-D011": "a node depends on itself",
    "HF-D012": "nodes depend on each other in a cycle",
    "HF-D013": "a node can never start",
    "HF-D020": "more nodes than the cap",
    "HF-D021": "a chain of nodes longer than the cap",
    "HF-D022": "workflows nested deeper than the cap",
    "HF-D023": "a workflow that starts itself",
    "HF-D030": "an unknown type of node",
    "HF-D031": "a config that does not fit the executor",
    "HF-D032": "an option that this type of node does not take",
    "HF-D033": "an unknown workflow",
    "HF-D034": "a name that no worker has published",
    "HF-D040": "an expression that does not compile",
    "HF-D041": "an expression that uses an unknown name",
    "HF-D042": "an expression that uses a node which may not have run",
    "HF-D043": "secrets where they would be stored",
    "HF-D044": "a schema that is not JSON Schema",
    "HF-D045": "a constant that will always fail",
}
"""Every code with its meaning; `docs/guide/dags.md` says more."""

MAX_PER_CODE: Final = 200
"""So many findings of one code are reported; one more says how many there are."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong with a document."""

    code: str
    """A stable code such as `HF-D012`."""
    message: str
    """What is wrong, with the names and values."""
    fix: str
    """What to do about it."""
    severity: Severity = "error"
    """An error keeps the document from being run; a warning does not."""
    node: str | None = None
    """The id of the node, if it is about one."""
    path: str = ""
    """The place in the document: `nodes[3].config.url`."""
    line: int | None = None
    """The line in the text, from 1, where there is a text."""
    column: int | None = None

    def __str__(self) -> str:
        place = f"line {self.line}, column {self.column}: " if self.line else ""
        return f"{self.code}: {place}{self.message}. {self.fix}"

    def as_dict(self) -> dict[str, Any]:
        """Its fields, without those that are not set."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value not in (None, "")}


def cut(findings: Iterable[Finding], meanings: Mapping[str, str] = CODES) -> list[Finding]:
    """The findings, at most `MAX_PER_CODE` of each code and one that counts the others.

    Args:
        findings: All of them.
        meanings: What the codes mean.
    """
    kept: list[Finding] = []
    counts: Counter[str] = Counter()
    for finding in findings:
        counts[finding.code] += 1
        if counts[finding.code] <= MAX_PER_CODE:
            kept.append(finding)
    for code, count in counts.items():
        if count > MAX_PER_CODE:
            kept.append(
                Finding(
                    code=code,
                    message=f"{count - MAX_PER_CODE} more of this kind: {meanings[code]}",
                    fix="Mend those that are listed, then check again.",
                    severity=next(finding.severity for finding in kept if finding.code == code),
                )
            )
    return kept


def refuse(name: str, findings: Sequence[Finding]) -> None:
    """Raise if one of the findings is an error.

    Raises:
        InvalidInput: With all of them in `details["findings"]`.
    """
    errors = [finding for finding in findings if finding.severity == "error"]
    if errors:
        listed = [f"- {finding}" for finding in errors[:20]]
        if len(errors) > 20:
            listed.append(f"- and {len(errors) - 20} more")
        raise InvalidInput(
            "\n".join([f"workflow {name!r} cannot run:", *listed]),
            findings=[finding.as_dict() for finding in findings],
        )
