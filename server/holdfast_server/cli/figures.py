"""Figures as tables that people like to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from rich import box
from rich.console import Group as Stack
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from holdfast.states import RunState
from holdfast.store.figures import Comparison, Group, Point, StepFigures, Summary
from holdfast_server.cli import show as render
from holdfast_server.cli.bars import bar, shade, sparkline
from holdfast_server.cli.output import cell, span

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_BAD = (RunState.FAILED, RunState.TIMED_OUT, RunState.TERMINATED)
_MOST_ERRORS = 5
_WORSE_IF_MORE = ("retry_rate", "failed_steps", "cost_usd", "seconds")


def count(value: float) -> str:
    """A whole number with separators."""
    return f"{value:,.0f}"


def percent(share: float | None) -> str:
    """A share; one that is not nothing never looks like nothing, nor one that is not all like all."""
    if share is None:
        return "-"
    if 0 < share < 0.0005:
        return "<0.1 %"
    return ">99.9 %" if 0.9995 <= share < 1 else f"{share:.1%}".replace("%", " %")


def took(seconds: float | None) -> str:
    """A span of time."""
    return "-" if seconds is None else span(timedelta(seconds=seconds))


def money(usd: float) -> str:
    """US dollars, with more digits where there are few of them."""
    return "-" if usd == 0 else f"${usd:,.2f}" if usd >= 1 else f"${usd:.4f}"


def of_summary(told: Summary, points: Sequence[int], width: int) -> RenderableType:
    """A summary; `points` are counts over time."""
    parts: list[RenderableType] = []
    if len(points) > 1:
        parts += [Text(sparkline(points, min(width, 78)), style="cyan"), ""]
    states = _grid("state", "runs", "share", "")
    for state, number in sorted(told.by_state.items(), key=lambda entry: -entry[1]):
        share = number / told.total
        states.add_row(render.state(RunState(state)), count(number), percent(share), bar(share, 1, 30))
    facts = Table.grid(padding=(0, 2))
    throughput = told.throughput_per_hour
    ended = "" if told.success_rate is None else " of those that ended"
    rows = [
        ("runs", count(told.total) + (f", {count(told.open)} open" if told.open else "")),
        ("success", percent(told.success_rate) + ended),
        ("took", _quantiles(told.p50_seconds, told.p95_seconds, told.p99_seconds, told.mean_seconds)),
        ("waited for a worker", _quantiles(
            told.queue_wait_p50_seconds, told.queue_wait_p95_seconds, told.queue_wait_p99_seconds, None)),
        ("retries", f"{count(told.retries)}, in {percent(told.retry_rate)} of runs"),
        ("failed steps", count(told.failed_steps)),
        ("ended per hour", "" if throughput is None else f"{throughput:,.1f}"),
        ("tokens, cost", f"{count(told.tokens)}, {money(told.cost_usd)}" if told.tokens or told.cost_usd else ""),
    ]  # fmt: skip
    for name, value in rows:
        if value:
            facts.add_row(Text(name, style="bold"), value)
    notes = [f"times are {told.quantiles}"] if told.quantiles != "exact" else []
    return Stack(*parts, states, "", facts, *(Text(note, style="dim") for note in notes))


def of_trends(points: Sequence[Point], starts: Sequence[datetime], form: str, width: int) -> RenderableType:
    """Points over time, those in which nothing started included."""
    made = _grid("UTC", "runs", "", "failed", "success", "mean", *_cost_columns(points))
    by_start = {point.start: point for point in points}
    largest = max((point.total for point in points), default=0)
    room = max(10, min(40, width - 60))
    for start in starts:
        point = by_start.get(start)
        if point is None:
            made.add_row(start.strftime(form), "0")
            continue
        failed = _failed(point.by_state)
        made.add_row(
            start.strftime(form),
            count(point.total),
            Text(bar(point.total, largest, room), style="cyan"),
            Text(count(failed) if failed else "", style="red"),
            percent(point.success_rate),
            took(point.mean_seconds),
            *_costs(point, points),
        )
    return made


def of_heatmap(points: Sequence[Point]) -> RenderableType:
    """Days of the week and their hours, in UTC."""
    found = {(point.weekday, point.hour): point.total for point in points}
    largest = max(found.values(), default=0)
    lines = [Text("UTC  " + "".join(f"{hour:<6}" for hour in range(0, 24, 3)), style="bold")]
    for weekday, name in enumerate(_DAYS):
        line = Text(f"{name}  ", style="bold")
        for hour in range(24):
            line.append(shade(found.get((weekday, hour), 0), largest) * 2, style="not bold cyan")
        total = sum(found.get((weekday, hour), 0) for hour in range(24))
        line.append(f"  {count(total)}", style="not bold")
        lines.append(line)
    return Stack(*lines, Text(f"darkest: {count(largest)} runs in an hour of the week", style="dim"))


def of_groups(groups: Sequence[Group], name: str, width: int) -> RenderableType:
    """Runs by value."""
    made = _grid(name, "runs", "", "failed", "success", "retried", "mean", *_cost_columns(groups))
    made.columns[0].overflow = "fold"
    largest = max((group.total for group in groups), default=0)
    for group in groups:
        failed = _failed(group.by_state)
        made.add_row(
            cell(group.value) if group.value else Text("(none)", style="dim"),
            count(group.total),
            Text(bar(group.total, largest, 6 if width < 100 else 24), style="cyan"),
            Text(count(failed) if failed else "", style="red"),
            percent(group.success_rate),
            percent(group.retry_rate),
            took(group.mean_seconds),
            *_costs(group, groups),
        )
    return made


def of_steps(steps: Sequence[StepFigures], width: int) -> RenderableType:
    """Steps, each with the errors that end it."""
    wide = width >= 100
    names = ["step", "calls", "failed", "attempts", "p50", "p95"]
    made = _grid(*names, *(["p99", "waited p95"] if wide else []), *_cost_columns(steps))
    made.columns[0].overflow = "fold"
    several = len({step.workflow for step in steps}) > 1
    last = None
    for step in steps if not several else sorted(steps, key=lambda step: step.workflow):
        if several and step.workflow != last:
            made.add_row(Text(cell(step.workflow).plain, style="bold"))
            last = step.workflow
        errors = sorted(step.error_rates.items(), key=lambda entry: -entry[1])
        made.add_row(
            cell(("  " if several else "") + step.step),
            count(step.count),
            Text(percent(step.failure_rate), style="red" if step.failure_rate else ""),
            f"{step.attempts_mean:.2f}",
            took(step.p50_seconds),
            took(step.p95_seconds),
            *([took(step.p99_seconds), took(step.queue_wait_p95_seconds)] if wide else []),
            *_costs(step, steps),
        )
        indent = "    " if several else "  "
        for error, share in errors[:_MOST_ERRORS]:
            shown = Text(percent(share), style="dim red")
            made.add_row(
                cell(indent + error, style="dim red"), Text(count(step.errors[error]), style="dim"), shown
            )
        if len(errors) > _MOST_ERRORS:
            made.add_row(Text(f"{indent}{len(errors) - _MOST_ERRORS} more kinds of error", style="dim"))
    part = next((step.sampled for step in steps if step.sampled is not None), None)
    notes = [f"of a sample: {percent(part)} of the runs"] if part is not None else []
    if not notes and any(step.quantiles == "sampled" for step in steps):
        notes = ["p50 and so on are of a sample"]
    return Stack(made, *(Text(note, style="dim") for note in notes))


def of_comparison(told: Comparison, names: tuple[str, str]) -> RenderableType:
    """Two summaries side by side."""
    made = _grid("", *names, "change")
    rows = [
        ("runs", "total", count), ("success", "success_rate", percent), ("p50", "p50_seconds", took),
        ("p95", "p95_seconds", took), ("p99", "p99_seconds", took), ("mean", "mean_seconds", took),
        ("waited p95", "queue_wait_p95_seconds", took), ("runs with retries", "retry_rate", percent),
        ("failed steps", "failed_steps", count), ("ended per hour", "throughput_per_hour", _number),
        ("tokens", "tokens", count), ("cost", "cost_usd", money),
    ]  # fmt: skip
    for label, field, show in rows:
        change = told.change.get(field)
        sides = [getattr(side, field) for side in (told.before, told.after)]
        made.add_row(
            Text(label, style="bold"),
            *("-" if value is None else show(value) for value in sides),
            _change(change, field),
        )
    return made


def _change(change: float | None, field: str) -> Text:
    if change is None:
        return Text("-")
    if abs(change) < 0.0005:
        return Text("=")
    text = f"{change:+,.1%}".replace("%", " %") if abs(change) < 10 else f"x{change + 1:,.0f}"
    bad = any(part in field for part in _WORSE_IF_MORE)
    good = field == "success_rate"
    if not (bad or good) or abs(change) < 0.05:
        return Text(text)
    return Text(text, style="red" if (change > 0) == bad else "green")


def _number(value: float) -> str:
    return f"{value:,.1f}"


def _quantiles(p50: float | None, p95: float | None, p99: float | None, mean: float | None) -> str:
    if p50 is None:
        return ""
    told = f"p50 {took(p50)}   p95 {took(p95)}   p99 {took(p99)}"
    return told if mean is None else f"{told}   mean {took(mean)}"


def _failed(by_state: Mapping[str, int]) -> int:
    return sum(by_state.get(state.value, 0) for state in _BAD)


def _cost_columns(figures: Sequence[Group | Point | StepFigures]) -> list[str]:
    return ["cost"] if any(item.cost_usd for item in figures) else []


def _costs(item: Group | Point | StepFigures, figures: Sequence[Group | Point | StepFigures]) -> list[str]:
    return [money(item.cost_usd)] if _cost_columns(figures) else []


def _grid(*columns: str) -> Table:
    """A table whose numbers stand to the right, under each other."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold", padding=(0, 1))
    for place, column in enumerate(columns):
        left = place == 0 or not column
        made.add_column(column, justify="left" if left else "right", no_wrap=place > 0)
    return made
