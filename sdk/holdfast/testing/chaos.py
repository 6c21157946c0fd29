"""`@chaos`: faults happen to the steps of a test's workers."""

from __future__ import annotations

import asyncio
import functools
import inspect
import secrets
import shutil
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar, cast

from holdfast.chaos.control import ChaosStats
from holdfast.chaos.profiles import Profile, profile_of
from holdfast.client.client import Client
from holdfast.errors import InvalidConfiguration

P = ParamSpec("P")
R = TypeVar("R")


def chaos(
    profile: Profile | str = "gentle", *, seed: int | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let faults happen to the steps of all workers that a test's client has, while the test runs.

    What an attempt gets follows from the seed, the run's id, the step, the call and the attempt's number: give runs
    ids of your own. A profile's bound on the faults in an interval is left out, as it depends on time. Crashes are left
    out too, as they would end the test's process: `crash_everywhere` is for them.

    Args:
        profile: `"gentle"`, `"moderate"`, `"aggressive"`, or a `holdfast.chaos.profiles.Profile`.
        seed: Any number. Default: one that is drawn; it stands below the error of a test that fails.

    Raises:
        InvalidConfiguration: No profile has this name; or, when the test runs, it is given no client.

    Example:
        ```python
        @chaos(profile="moderate", seed=7)
        async def test_orders_survive(holdfast_client: Client) -> None: ...
        ```
    """
    chosen = replace(profile_of(profile), max_events=None)

    def decorate(test: Callable[P, R]) -> Callable[P, R]:
        if inspect.iscoroutinefunction(test):
            disturbed: Callable[..., Any] = _async(test, chosen, seed)
        else:
            disturbed = _sync(test, chosen, seed)
        return cast("Callable[P, R]", functools.wraps(test)(disturbed))

    return decorate


def _async(
    test: Callable[..., Coroutine[Any, Any, Any]], profile: Profile, seed: int | None
) -> Callable[..., Any]:
    async def disturbed(*args: Any, **kwargs: Any) -> Any:
        client, drawn = _given(test, args, kwargs), _drawn(seed)
        await client.chaos.start(profile, seed=drawn)
        try:
            return await test(*args, **kwargs)
        except BaseException as exc:
            exc.add_note(_note(profile, drawn, await client.chaos.stats()))
            raise
        finally:
            await _end(client)

    return disturbed


def _sync(test: Callable[..., Any], profile: Profile, seed: int | None) -> Callable[..., Any]:
    def disturbed(*args: Any, **kwargs: Any) -> Any:
        client, drawn = _given(test, args, kwargs), _drawn(seed)
        asyncio.run(_begin(client, profile, drawn))
        try:
            return test(*args, **kwargs)
        except BaseException as exc:
            exc.add_note(_note(profile, drawn, asyncio.run(client.chaos.stats())))
            raise
        finally:
            asyncio.run(_end(client))

    return disturbed


def _given(test: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Client:
    found = next((value for value in (*args, *kwargs.values()) if isinstance(value, Client)), None)
    if found is None:
        raise InvalidConfiguration(
            f"@chaos: {test.__qualname__} is given no client whose workers could be disturbed: take holdfast_client"
        )
    return found


def _drawn(seed: int | None) -> int:
    return secrets.randbelow(1_000_000) if seed is None else seed


async def _begin(client: Client, profile: Profile, seed: int) -> None:
    await client.chaos.start(profile, seed=seed)


async def _end(client: Client) -> None:
    await client.chaos.stop()
    if client.files is None:  # then they lie beside the project, and nobody looks for them there
        folder = client.chaos.folder
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        with suppress(OSError):  # others use it
            folder.parent.rmdir()
            folder.parent.parent.rmdir()


def _note(profile: Profile, seed: int, stats: ChaosStats) -> str:
    counted = ", ".join(f"{count} {kind}" for kind, count in stats.injected.items() if count) or "no faults"
    return f"chaos: {counted}; the same faults again: @chaos({profile.name!r}, seed={seed})"
