"""What the worker processes of the http tests serve."""

from __future__ import annotations

from datetime import timedelta

from holdfast import RetryPolicy, workflow
from holdfast_executors import http

# Its first worker is noticed to be dead after six seconds; no attempt is lost meanwhile.
PATIENT = RetryPolicy(max_attempts=5, first_delay=timedelta(milliseconds=100))


@workflow
async def all_pages(url: str) -> int:
    found = await http.pages(url, http.CursorPages(next="body.next"), retry=PATIENT)
    return len(found)


@workflow
async def until_it_holds(url: str) -> int:
    answer = await http.poll(
        url, "body.count >= 12", every=timedelta(milliseconds=300), max_calls=50, retry=PATIENT
    )
    return answer.status
