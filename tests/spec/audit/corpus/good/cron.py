"""A nightly report, by the time of the run."""

from datetime import date, datetime, timedelta

from holdfast import now, step, workflow


@step
async def count(day: date) -> int:
    return day.toordinal()


@workflow
async def nightly() -> int:
    yesterday = now().date() - timedelta(days=1)
    midnight = datetime(yesterday.year, yesterday.month, yesterday.day)
    age = date.fromisoformat("2026-01-01") - midnight.date()
    return await count(yesterday) + age.days
