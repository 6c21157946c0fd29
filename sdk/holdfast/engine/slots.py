"""Places for work that runs at the same time, given to the most urgent first."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager


class Slots:
    """So many places. Deterministic: of equally urgent ones who came first goes first.

    Args:
        count: How many there are.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = count
        self._waiting: list[tuple[float, int, int, asyncio.Future[None]]] = []
        self._number = 0

    @property
    def crowded(self) -> bool:
        """Whether a newcomer would have to wait."""
        return self._free == 0 or bool(self._waiting)

    @asynccontextmanager
    async def hold(self, urgency: float = 0.0, places: int = 1) -> AsyncGenerator[None]:
        """Wait for places and hold them; all at once, so that nobody holds a part and waits for the rest."""
        await self._take(urgency, places)
        try:
            yield
        finally:
            self._free += places
            self._serve()

    async def _take(self, urgency: float, places: int) -> None:
        if not self._waiting and self._free >= places:
            self._free -= places
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._number += 1
        heapq.heappush(self._waiting, (-urgency, self._number, places, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._free += places
            self._serve()
            raise

    def _serve(self) -> None:
        while self._waiting:
            _, _, places, turn = self._waiting[0]
            if turn.cancelled():
                heapq.heappop(self._waiting)
            elif self._free >= places:
                heapq.heappop(self._waiting)
                self._free -= places
                turn.set_result(None)
            else:
                return
