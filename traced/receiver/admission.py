"""How many requests, and how many bytes of them, are decoded or waiting for their commit at once.

Refusing early is what keeps memory bounded and senders informed: a request that finds no slot is not stored, and its
sender is told when to come back.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from traced.errors import OverloadedError
from traced.receiver.refusals import RefusalReason

MIN_RETRY_SECONDS: Final = 1
MAX_RETRY_SECONDS: Final = 30
FIRST_RETRY_SECONDS: Final = 2.0
"""What to say before the first request was seen to end.

Short, because SDKs drop the data at once when the delay is longer than what is left of their export timeout (10 s).
"""
WAITING_BEYOND_REQUESTS: Final = 8
"""So many more messages than requests in flight may wait for room at once; further ones are refused, so that threads stay free for others."""
_WEIGHT_OF_NEWEST: Final = 0.2


class Admission:
    """Bounds requests and bytes in flight over all transports; safe to use from any thread."""

    def __init__(self, max_bytes: int, max_requests: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Start empty.

        Args:
            max_bytes: bytes held by all requests together. A single request may exceed it when it is alone, since
                its own size is bounded elsewhere and it could otherwise never be taken.
            max_requests: requests being decoded or waiting for their commit.
            clock: seconds, for how long slots are held.
        """
        self._max_bytes = max_bytes
        self._max_requests = max_requests
        self._max_waiting = max_requests + WAITING_BEYOND_REQUESTS
        self._clock = clock
        self._changed = threading.Condition()
        self._bytes = 0
        self._reserved = 0
        self._waiting_for_room = 0
        self._begun: dict[Slot, float] = {}
        self._closing = False
        self._seconds_held: float | None = None

    @property
    def bytes_in_flight(self) -> int:
        """Count the bytes held now."""
        return self._bytes

    @property
    def closing(self) -> bool:
        """Say whether everything new is refused."""
        return self._closing

    def slot(self) -> Slot:
        """Give a slot that holds nothing yet; use it as a context manager."""
        return Slot(self)

    def reserve(self, size: Callable[[], int], wait_seconds: float) -> Room:
        """Reserve room for a message that cannot be counted as it comes; use it as a context manager.

        Others are not refused because of it, they only wait to reserve: a message is mostly smaller than what must be reserved.

        Args:
            size: gives the bytes to reserve; asked again while there is no room.
            wait_seconds: how long to wait for room.

        Raises:
            OverloadedError: there is none, all slots are taken, or `traced` is shutting down.
        """
        until = self._clock() + wait_seconds
        with self._changed:
            self._check()
            while (wanted := size()) and self._bytes + self._reserved and self._bytes + self._reserved + wanted > self._max_bytes:
                left = until - self._clock()
                if left <= 0 or self._waiting_for_room >= self._max_waiting:
                    self._refuse(f"{self._bytes} bytes are in flight and {self._reserved} reserved, as many as receiver.max_bytes_in_flight allows")
                self._waiting_for_room += 1
                self._changed.wait(left)
                self._waiting_for_room -= 1
                self._check()
            self._reserved += wanted
            return Room(self, wanted)

    def is_overfull(self) -> bool:
        """Say whether what is held and what is reserved exceed the bytes together: something came larger than expected."""
        return self._bytes + self._reserved > self._max_bytes

    def check(self) -> None:
        """Refuse before a body is read, if the request would find no slot anyway.

        Raises:
            OverloadedError: all slots are taken, or `traced` is shutting down.
        """
        with self._changed:
            self._check()

    def close(self) -> None:
        """Refuse everything new from now on; what holds a slot goes on."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def wait_idle(self, timeout_seconds: float) -> bool:
        """Wait until no request holds a slot; say whether that came true in time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._begun, timeout_seconds)

    def retry_after_seconds(self) -> int:
        """Say when to come back: about as long as a slot is held at present, with jitter, in 1 to 30 s."""
        with self._changed:
            return self._retry_after()

    def _check(self) -> None:
        if self._closing:
            raise OverloadedError(
                "traced is shutting down; nothing of this request was stored",
                retry_after_seconds=self._retry_after(),
                reason=RefusalReason.SHUTTING_DOWN,
            )
        if len(self._begun) >= self._max_requests:
            self._refuse(f"{len(self._begun)} requests are in flight, as many as receiver.max_requests_in_flight allows")

    def _refuse(self, why: str) -> None:
        raise OverloadedError(f"{why}; nothing of this request was stored", retry_after_seconds=self._retry_after(), reason=RefusalReason.QUEUE_FULL)

    def _retry_after(self) -> int:
        seconds = FIRST_RETRY_SECONDS if self._seconds_held is None else self._seconds_held
        if self._begun:
            # when nothing ends any more, the oldest request says so before an average does; half its age doubles the wait
            # with each further try, as a sender's own backoff would
            oldest = next(iter(self._begun.values()))
            seconds = max(seconds, (self._clock() - oldest) / 2)
        # without jitter all refused senders would come back together
        jittered = seconds * random.uniform(0.5, 1.5)  # noqa: S311 -- not for security
        return min(MAX_RETRY_SECONDS, max(MIN_RETRY_SECONDS, round(jittered)))

    def _hold(self, size: int, held_by_slot: int) -> None:
        with self._changed:
            others = self._bytes - held_by_slot
            if others and self._bytes + size > self._max_bytes:
                self._refuse(f"{self._bytes} bytes are in flight; {size} more would exceed receiver.max_bytes_in_flight")
            self._bytes += size

    def _begin(self, slot: Slot) -> None:
        with self._changed:
            self._check()
            self._begun[slot] = self._clock()

    def _end(self, slot: Slot) -> None:
        with self._changed:
            begun = self._begun.pop(slot, None)
            if begun is not None:
                held = self._clock() - begun
                mean = held if self._seconds_held is None else self._seconds_held
                self._seconds_held = mean + _WEIGHT_OF_NEWEST * (held - mean)
                self._changed.notify_all()

    def _let_go(self, size: int) -> None:
        with self._changed:
            self._bytes -= size
            if self._waiting_for_room:
                self._changed.notify_all()

    def _resize(self, room: Room, size: int) -> None:
        with self._changed:
            if room.is_open:
                self._reserved += size - room.size
                room.size = size
                if self._waiting_for_room:
                    self._changed.notify_all()


class Room:
    """What is reserved for one message, until the block ends.

    Attributes:
        size: bytes.
        is_open: false once the block has ended.
    """

    def __init__(self, admission: Admission, size: int) -> None:
        """Keep what was reserved."""
        self._admission = admission
        self.size = size
        self.is_open = True

    def resize(self, size: int) -> None:
        """Reserve so many bytes from now on, whether or not there is room; without effect after the block."""
        self._admission._resize(self, size)  # noqa: SLF001 -- a room is the other half of its admission

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.resize(0)
        self.is_open = False


class Slot:
    """What one request holds: bytes as they come, and one of the places of `max_requests` from `begin` on."""

    def __init__(self, admission: Admission) -> None:
        """Hold nothing yet."""
        self._admission = admission
        self._held = 0

    def hold(self, size: int) -> None:
        """Count more bytes (received or inflated).

        Raises:
            OverloadedError: they do not fit.
        """
        self._admission._hold(size, self._held)  # noqa: SLF001 -- a slot is the other half of its admission
        self._held += size

    def let_go(self, size: int) -> None:
        """Give bytes back before the slot ends, as when the compressed body is not needed any more."""
        size = min(size, self._held)
        self._admission._let_go(size)  # noqa: SLF001
        self._held -= size

    def begin(self) -> None:
        """Take a place: the body is complete.

        Raises:
            OverloadedError: there is none, or `traced` is shutting down.
        """
        self._admission._begin(self)  # noqa: SLF001

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.let_go(self._held)
        self._admission._end(self)  # noqa: SLF001
