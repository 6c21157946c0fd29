"""The audit of a Python file: rules about workflow code, read from the source without importing it."""

from __future__ import annotations

import ast
import dataclasses
import warnings
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from holdfast.errors import InvalidInput, NotFound
from holdfast.spec.audit.code.allow import Allowance, allowances
from holdfast.spec.audit.code.entries import HOLDFAST, Entry, find_entries, local_steps, makes_dag
from holdfast.spec.audit.code.hit import Hit
from holdfast.spec.audit.code.resolve import Resolver
from holdfast.spec.audit.code.scope import Class, Function, Module
from holdfast.spec.audit.code.shared import Shared
from holdfast.spec.audit.code.walk import Walk
from holdfast.spec.audit.level import Level
from holdfast.spec.audit.rules import RULES, severity
from holdfast.spec.finding import Finding


@dataclass(frozen=True, kw_only=True)
class CodeFinding(Finding):
    """One thing that is wrong with workflow code."""

    file: str = ""
    """The file, as it was named."""
    chain: tuple[str, ...] = ()
    """The functions from the workflow to the one that holds the line; empty if no workflow is involved."""

    def __str__(self) -> str:
        reached = f" (reached by {' -> '.join(self.chain)})" if len(self.chain) > 1 else ""
        return f"{self.file}:{self.line}: {self.message}{reached}. {self.fix} [{self.code}]"

    def as_dict(self) -> dict[str, Any]:
        """Its fields, without those that are not set."""
        fields = super().as_dict()
        return fields | {"chain": list(self.chain)} if self.chain else fields


def audit_source(
    text: str, filename: str, *, level: Level = "normal", workflow: str | None = None
) -> list[CodeFinding]:
    """Audit the workflow code of a file: `@workflow` functions, Temporal's workflow classes, and every function of the
    file that they call or hand on. Steps and activities are left out. Nothing is imported.

    Args:
        text: The source.
        filename: What to call it in findings.
        level: How strict.
        workflow: Only what this function or class defines; comments that allow nothing are then not reported.

    Returns:
        Findings in the order of lines, one at most of each code for a place.

    Raises:
        InvalidInput: It is no Python, or nested too deep; with `line` where it is known.
        NotFound: No such workflow.
    """
    with _bounded(filename):
        found = _findings(_parse(text, filename), filename, workflow)
    allowed = allowances(text)
    kept: list[CodeFinding] = []
    for finding, last_line in found.values():
        excused = [allowed[line] for line in {finding.line or 0, last_line} if line in allowed]
        excused = [allowance for allowance in excused if finding.code in allowance.codes]
        for allowance in excused:
            allowance.used.add(finding.code)
        if not excused:
            kept.append(finding)
    if workflow is None:
        for allowance in allowed.values():
            kept += _about(allowance, filename)
    graded = (
        dataclasses.replace(finding, severity=grade)
        for finding in kept
        if (grade := severity(finding.code, level)) is not None
    )
    return sorted(graded, key=lambda finding: (finding.line or 0, finding.column or 0, finding.code))


def declares_dag(text: str, filename: str) -> bool:
    """Whether importing a file makes a `Dag`, which only the import shows whole.

    Raises:
        InvalidInput: As for `audit_source`.
    """
    if "Dag" not in text:
        return False
    with _bounded(filename):
        tree = _parse(text, filename)
        module = Module(tree)
        return makes_dag(tree, module, Resolver(module))


@contextmanager
def _bounded(filename: str) -> Generator[None]:
    try:
        yield
    except RecursionError:
        raise InvalidInput(
            f"{filename}: nested too deep to audit. Split its longest expression into several."
        ) from None


def _parse(text: str, filename: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as odd escapes in strings: not what is audited
            return ast.parse(text, filename)
    except SyntaxError as error:
        raise InvalidInput(
            f"{filename}:{error.lineno or 0}: not Python: {error.msg}. Correct it, then audit again.",
            line=error.lineno or 0,
        ) from None
    except (ValueError, MemoryError) as error:
        raise InvalidInput(f"{filename}: not Python: {error}. Correct it, then audit again.") from None


def _findings(
    tree: ast.Module, filename: str, workflow: str | None
) -> dict[tuple[str, int, int], tuple[CodeFinding, int]]:
    """What is found, each with the last line of it, by code, line and column."""
    module = Module(tree)
    resolver = Resolver(module)
    entries = find_entries(module, resolver)
    if workflow is not None:
        entries = [entry for entry in entries if entry.workflow == workflow]
        if not entries:
            raise NotFound(f"{filename}: there is no workflow {workflow!r}")
    found: dict[tuple[str, int, int], tuple[CodeFinding, int]] = {}
    steps = local_steps(module, resolver) if workflow is None else ()
    for hit, chain, entry in (*((hit, (), None) for hit in steps), *_walk(module, resolver, entries)):
        line, column = getattr(hit.node, "lineno", 1), getattr(hit.node, "col_offset", 0) + 1
        finding = CodeFinding(
            code=hit.code,
            message=hit.message,
            fix=_worded(hit.fix, entry),
            file=filename,
            line=line,
            column=column,
            chain=chain,
        )
        last_line = line if isinstance(hit.node, ast.ExceptHandler) else getattr(hit.node, "end_lineno", line)
        found.setdefault((hit.code, line, column), (finding, last_line))
    return found


def _walk(
    module: Module, resolver: Resolver, entries: list[Entry]
) -> Iterator[tuple[Hit, tuple[str, ...], Entry]]:
    """All hits, each with the shortest chain of functions from the first workflow that reaches it."""
    changing = Shared(module, resolver) if entries else None
    seen: set[tuple[Function, Class | None]] = set()
    for entry in entries:
        todo = deque[tuple[Function, Class | None, tuple[str, ...]]]()
        todo.append((entry.function, entry.receiver, (entry.function.title,)))
        while todo and changing is not None:
            function, receiver, chain = todo.popleft()
            if (function, receiver) in seen:
                continue
            seen.add((function, receiver))
            walk = Walk(module, resolver, changing)
            walk.run(function, receiver)
            for hit in walk.hits:
                yield hit, chain, entry
            for reached, on in walk.reached:
                if reached.role == "plain":
                    todo.append((reached, on, (*chain, reached.title)))


def _worded(fix: str, entry: Entry | None) -> str:
    words = entry.words if entry else HOLDFAST
    for name, word in words.items():
        fix = fix.replace(f"{{{name}}}", word)
    return fix


def _about(allowance: Allowance, filename: str) -> Iterator[CodeFinding]:
    unknown = [code for code in allowance.codes if code not in RULES]
    unused = [code for code in allowance.codes if code not in allowance.used]
    named = ", ".join(allowance.codes)
    if not allowance.codes or not allowance.reason:
        missing = "reason" if allowance.codes else "code"
        yield CodeFinding(
            code="HF-A090",
            message=f"the comment allows {named or 'something'} without a {missing}",
            fix="Write `# holdfast: allow HF-A0xx why it is safe here`.",
            file=filename,
            line=allowance.line,
            column=allowance.column,
        )
    if unused:
        yield CodeFinding(
            code="HF-A091",
            message=f"the comment allows {', '.join(unused)}, which "
            + ("is no rule" if unknown else "nothing on this line breaks"),
            fix="Remove it, or correct the code.",
            file=filename,
            line=allowance.line,
            column=allowance.column,
        )
