"""`holdfast demo --chaos`: many runs of several shapes, while their workers are killed and their steps fail."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from holdfast import Client, HoldfastError, Run, RunFailed
from holdfast.chaos.control import ChaosStats, Control
from holdfast.chaos.faults import Faults
from holdfast.chaos.plan import FaultPlan
from holdfast.chaos.profiles import Profile
from holdfast.chaos.proxy import Proxy
from holdfast.client.description import RunDescription
from holdfast.engine.embedded import stop
from holdfast_server.demo import chaos_flows, chaos_worker, ledger
from holdfast_server.demo.chaos_flows import GO, SHAPES, expected
from holdfast_server.demo.chaos_worker import QUEUE
from holdfast_server.demo.driver import OUTPUT
from holdfast_server.demo.fleet import Fleet
from holdfast_server.demo.verdict import Verdict, judge, wrong_ends

HOME: Final = OUTPUT / "chaos"
"""Its own home, so that nobody else's workers are hit; each demo begins with an empty one."""

LEDGER: Final = OUTPUT / "chaos-ledger.jsonl"
WORKERS: Final = 2
_OPEN: Final = 20
"""Runs at a time: each crash takes all that is under way with it."""

_AT_A_TIME: Final = 10
_THINKS_SECONDS: Final = 0.5
"""How long the demo, in the place of a person, thinks about an approval."""

_SECONDS: Final = 180.0
_SECONDS_PER_RUN: Final = 10.0


@dataclass
class Progress:
    """What happens now, to be shown."""

    profile: str
    seed: int
    planned: Counter[str]
    """Runs by shape."""

    started: Counter[str] = field(default_factory=Counter[str])
    ended: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    """By shape and state."""

    pids: list[int] = field(default_factory=list[int])
    killed_count: int = 0
    chaos: ChaosStats | None = None


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What came of it."""

    profile: str
    seed: int
    success_count: int
    """Runs that gave what they should; a saga that is refused and undone is one."""

    killed_count: int
    chaos: ChaosStats
    verdict: Verdict

    @property
    def proven(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.verdict.doubts

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "profile": self.profile,
            "seed": self.seed,
            "success_count": self.success_count,
            "killed_count": self.killed_count,
            "injected": self.chaos.injected,
            "recovered": self.chaos.recovered,
            **self.verdict.to_dict(),
            "shown": self.proven,
        }


class ChaosDemo:
    """Runs it.

    Args:
        client: Of the home whose workers are hit.
        count: How many runs.
        profile: How often which fault comes.
        seed: Default: one that is drawn.
        tag: Begins the ids of the runs, on which the faults of a seed depend.
    """

    def __init__(
        self, client: Client, *, count: int, profile: Profile, seed: int | None = None, tag: str = "storm"
    ) -> None:
        shapes = list(SHAPES)
        self._client = client
        self._runs = {f"{tag}-{n:04}": (shapes[n % len(shapes)], n) for n in range(count)}
        self._plan = FaultPlan(profile, secrets.randbelow(1_000_000) if seed is None else seed)
        self._acknowledged: list[str] = []
        self._results: dict[str, tuple[object, object]] = {}
        self._turn = asyncio.Semaphore(_OPEN)
        self._control = Control(client.chaos.folder)
        self.progress = Progress(
            profile.name, self._plan.seed, Counter(shape for shape, _ in self._runs.values())
        )

    async def run(self, show: Callable[[], None]) -> Shown:
        """Run it to the end.

        Args:
            show: Called twice a second, when the progress may have changed.

        Raises:
            DemoFailed: Its workers do not stay up.
            Unavailable: The server does not answer.
        """
        # Chaos comes from the workers' own plan; this only begins the statistics anew.
        await self._client.chaos.start(self._plan.profile, seed=self._plan.seed)
        await self._client.chaos.stop()
        home, written = self._client.home, LEDGER.resolve()
        assert home is not None
        async with Proxy(self._client.address) as proxy:
            network = asyncio.create_task(proxy.serve(Faults(self._control, self._plan)))
            async with Fleet(
                chaos_worker.main,
                [home, proxy.address, written, self._plan],
                imports=[chaos_worker.__name__, chaos_flows.__name__],
                size=WORKERS,
                log=OUTPUT / "chaos-worker.log",
            ) as fleet:
                try:
                    await self._through_all(fleet, show)
                finally:
                    network.cancel()
                    await asyncio.wait([network])
            killed_count = fleet.killed_count
        runs = await self._described()
        entries = [entry for entry in ledger.read(written) if entry.run_id in runs]
        verdict = judge(list(runs.values()), entries)
        for run_id in self._acknowledged:
            if not runs[run_id].state.closed:
                await self._client.get(run_id).terminate(reason="the demo has ended")
        wrong = wrong_ends(runs, self._results)
        verdict.doubts.extend(wrong)
        return Shown(
            profile=self._plan.profile.name,
            seed=self._plan.seed,
            success_count=len(self._results) - len(wrong),
            killed_count=killed_count,
            chaos=await asyncio.to_thread(self._control.stats),
            verdict=verdict,
        )

    async def _through_all(self, fleet: Fleet, show: Callable[[], None]) -> None:
        work = [asyncio.create_task(self._one(run_id)) for run_id in self._runs]
        clock = asyncio.get_running_loop().time
        deadline = clock() + _SECONDS + _SECONDS_PER_RUN * len(work)
        pending = set(work)
        try:
            while pending and clock() < deadline:
                _, pending = await asyncio.wait(pending, timeout=0.5)
                fleet.check()
                self.progress.pids, self.progress.killed_count = fleet.pids, fleet.killed_count
                self.progress.chaos = await asyncio.to_thread(self._control.stats)
                show()
        finally:
            for task in pending:
                task.cancel()
            ended = await asyncio.gather(*work, return_exceptions=True)
        for end in ended:
            if isinstance(end, HoldfastError):
                raise end

    async def _one(self, run_id: str) -> None:
        shape, number = self._runs[run_id]
        async with self._turn:
            run: Run[Any] = await self._client.start(SHAPES[shape], number, id=run_id, queue=QUEUE)
            self._acknowledged.append(run_id)
            self.progress.started[shape] += 1
            if shape == "approval":
                await asyncio.sleep(_THINKS_SECONDS)
                await self._client.approvals.decide(run_id, GO, {"approved": True, "by": "the demo"})
            wanted = expected(shape, number)
            try:
                given = await run.result()
                state = "completed"
            except RunFailed as error:
                given, state = (None if shape == "saga" else error), "undone" if shape == "saga" else "failed"
            self._results[run_id] = (wanted, given)
            self.progress.ended[shape, state] += 1

    async def _described(self) -> dict[str, RunDescription]:
        """All runs and their children, by id."""
        turn, found = asyncio.Semaphore(_AT_A_TIME), dict[str, RunDescription]()

        async def look(run_id: str) -> None:
            async with turn:
                described = found[run_id] = await self._client.get(run_id).describe()
            await asyncio.gather(*(look(child) for child in described.children))

        await asyncio.gather(*(look(run_id) for run_id in self._acknowledged))
        return found


@asynccontextmanager
async def made_demo(
    home: Path | None, *, count: int, profile: Profile, seed: int | None
) -> AsyncGenerator[tuple[Client, ChaosDemo]]:
    """The demo, and the client of its server.

    Args:
        home: Of the runs. Their ids are then new, so the faults of a seed are others than those before. Default: an
            empty one, in which a seed has the same faults each time.
        count: How many runs.
        profile: How often which fault comes.
        seed: Default: one that is drawn.
    """
    tag = "storm" if home is None else f"storm-{secrets.token_hex(3)}"
    if home is None:
        await stop(HOME)
        await asyncio.to_thread(_empty, HOME)
    async with Client.embedded(home or HOME) as client:
        yield client, ChaosDemo(client, count=count, profile=profile, seed=seed, tag=tag)


def _empty(home: Path) -> None:
    """Delete the home of the last demo, and what its steps have written: the ids of its runs come again."""
    shutil.rmtree(home, ignore_errors=True)
    LEDGER.unlink(missing_ok=True)
