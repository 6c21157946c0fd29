"""Messages and approvals with time limits."""

from datetime import timedelta

from holdfast import WaitTimeout, approval, set_state, step, wait_for, workflow


@step
async def apply(change: str) -> str:
    return change


@workflow
async def editor(limit: int) -> list[str]:
    changes: list[str] = []
    while len(changes) < limit:
        try:
            change = (
                await wait_for("change", str, timedelta(hours=1))
                if limit < 0
                else await wait_for("change", str)
            )
        except WaitTimeout:
            break
        decision = await approval(f"Apply {change}?", timeout=timedelta(days=1))
        if decision.approved:
            changes.append(await apply(change))
        set_state(changes)
    return changes
