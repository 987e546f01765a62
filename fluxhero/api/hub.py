"""Events on their way to everybody who listens, each with a bounded queue; who reads too slowly is dropped."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from fluxhero.api.services import Event

MOST_LISTENERS: Final = 1_000
QUEUED: Final = 64  # events; a night has a few hundred

Queue = asyncio.Queue[Event | None]


class Hub:
    """Who listens now. Publish and subscribe from the event loop's own thread.

    Args:
        most: listeners at one time, from which on it says that it is full.
        queued: events that wait for one listener before it is dropped.
    """

    def __init__(self, most: int = MOST_LISTENERS, queued: int = QUEUED) -> None:
        self._most = most
        self._queued = queued
        self._queues: set[Queue] = set()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._queues)

    @property
    def full(self) -> bool:
        """Whether no further listener should be taken."""
        return len(self._queues) >= self._most

    def publish(self, event: Event) -> None:
        """Put an event into every queue; a listener whose queue is full gets None as its last item."""
        for queue in tuple(self._queues):
            if queue.full():
                self.drop(queue)
            else:
                queue.put_nowait(event)

    def drop(self, queue: Queue) -> None:
        """Send a listener nothing more; None is the last that its queue holds."""
        if queue not in self._queues:
            return
        self._queues.discard(queue)
        self.dropped += 1
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(None)

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[Queue]:
        """Listen within the block."""
        queue: Queue = asyncio.Queue(self._queued)
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)
