"""Messages of OTLP/gRPC that are not there yet: room is reserved before they are read, and none may take too long.

gRPC hands a message over when it is whole, and says nothing of it before, not even its length; what has come of it lies in memory all the same. So
each call reserves what its connection leads to expect: the largest message there may be where it has sent none yet, else four times its largest one.
Senders of small messages are never kept waiting by that. That a call holds much room and sends nothing, or comes with much more than expected, is
seen from the kernel, which counts the bytes received on each connection.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final

import grpc
import structlog

from traced.config import ReceiverSettings
from traced.errors import TracedError
from traced.receiver.admission import Admission, Room
from traced.receiver.connections import Connections
from traced.receiver.refusals import RefusalReason, RefusedError
from traced.receiver.status import RpcCode

_log = structlog.get_logger(__name__)

LEAST_BYTES: Final = 64 * 1024
"""Room that any message gets: so much of it may come before it is read at all (HTTP/2's flow control window)."""
LARGE_BYTES: Final = 2**20
"""A call of which less has come is not ended for want of room: that would free nothing."""
ROOM_WAIT_SECONDS: Final = 1.0
"""How long a call waits for room before its sender is told to come back."""
LOOK_SECONDS: Final = 0.02
"""How often calls are looked at that still wait for their message. Most never are: it comes with the call."""
SLOW_SECONDS: Final = 1.0
"""A call that has waited for so long, and of which no more is known, gets no more room than any."""
MAX_CONNECTIONS_REMEMBERED: Final = 4096
_EXPECTED_TIMES_LARGEST: Final = 4
_CARRIER_BYTES: Final = 256
"""About what HTTP/2 takes for a call beside its message; and a thousandth of that."""
_FORGETTING: Final = 0.9
"""By how much the largest message counts less with each further one."""


@dataclass(eq=False, slots=True)
class _Call:
    """A call that waits for its message.

    Attributes:
        context: to end it.
        peer: its connection.
        since: when it began to wait (monotonic seconds).
        room: what is reserved for it.
        refusal: why it was ended, where it was.
    """

    context: grpc.ServicerContext
    peer: str
    since: float
    room: Room
    refusal: TracedError | None = None


@dataclass(slots=True)
class _Received:
    """What came on a connection with calls that wait.

    Attributes:
        before: bytes received before the first look at these calls.
        taken: bytes of messages that were handed over since then, with what carries them.
        calls: those that waited at the last look.
    """

    before: int
    taken: int = 0
    calls: frozenset[_Call] = frozenset()


class Arrivals:
    """Waits for messages, within the room that admission has for them.

    The sender of a call that is ended while its message comes sees CANCELLED, which OTLP lists as retryable: gRPC knows no other way then.
    """

    def __init__(self, admission: Admission, settings: ReceiverSettings) -> None:
        """Keep the parts; nothing starts.

        Args:
            admission: has the room.
            settings: the largest message, and how long it may take.
        """
        self._admission = admission
        self._timeout_seconds = settings.request_timeout_seconds
        # by default half of the bytes in flight anyway; where it is more, two may come at once all the same
        self._most_bytes = min(settings.max_request_bytes, settings.max_bytes_in_flight // 2)
        self._largest: dict[str, float] = {}
        self._calls: set[_Call] = set()
        self._sockets = Connections(0)
        self._received: dict[str, _Received] = {}
        self._lock = threading.Lock()
        self._wanted = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="otlp-grpc-arrivals", daemon=True)

    def start(self, port: int) -> None:
        """Watch the connections of a port."""
        self._sockets = Connections(port)
        self._thread.start()

    def stop(self) -> None:
        """End every call that waits."""
        self._stopped.set()
        self._wanted.set()
        self._thread.join()
        for call in self._calls.copy():
            _cancel(call.context)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def first(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> bytes | None:
        """Give the call's first message; None when it ended without one.

        Raises:
            OverloadedError: there is no room for it.
            RefusedError: it took too long, or turned out to be larger than there is room for.
            grpc.RpcError: the sender gave it up.
        """
        peer = context.peer()
        with self._admission.reserve(partial(self._expected, peer), ROOM_WAIT_SECONDS) as room:
            call = _Call(context, peer, time.monotonic(), room)
            self._calls.add(call)
            if not self._wanted.is_set():
                self._wanted.set()
            try:
                body = next(messages, None)
            except grpc.RpcError:
                if call.refusal is None:
                    raise
                body = None
            finally:
                self._calls.discard(call)
        if body is not None:
            self._learn(peer, len(body))
        elif call.refusal is not None:
            raise call.refusal
        return body

    def _expected(self, peer: str) -> int:
        """Give how much room the next message of a connection gets (bytes)."""
        largest = self._largest.get(peer)
        return self._most_bytes if largest is None else self._bounded(_EXPECTED_TIMES_LARGEST * largest)

    def _bounded(self, size: float) -> int:
        return min(self._most_bytes, max(LEAST_BYTES, int(size)))

    def _learn(self, peer: str, size: int) -> None:
        with self._lock:
            self._largest[peer] = max(float(size), _FORGETTING * self._largest.pop(peer, 0.0))
            if len(self._largest) > MAX_CONNECTIONS_REMEMBERED:
                for oldest in list(islice(self._largest, MAX_CONNECTIONS_REMEMBERED // 2)):
                    del self._largest[oldest]
            if peer in self._received:
                self._received[peer].taken += size + size // 1000 + _CARRIER_BYTES

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._wanted.wait()
            self._wanted.clear()
            while self._calls and not self._stopped.wait(LOOK_SECONDS):
                try:
                    self._look(time.monotonic())
                except Exception as error:  # noqa: BLE001 - thread root
                    # whatever it is, calls must go on being ended that never get their message
                    _log.exception("calls_not_looked_at", error=repr(error))

    def _look(self, now: float) -> None:
        """End what is overdue, and let each call that still waits have the room that it seems to need."""
        calls = [call for call in self._calls.copy() if call.refusal is None and call.since + LOOK_SECONDS <= now]
        for call in calls:
            if call.since + self._timeout_seconds <= now:
                self._end(call, RefusalReason.BODY_TIMEOUT, f"the message did not arrive within {self._timeout_seconds:g} s")
        with self._lock:
            sizes = self._sizes([call for call in calls if call.refusal is None])
            for call, size in sizes.items():
                self._resize(call, size, now)
        large = sorted((call for call, size in sizes.items() if size is not None and size >= LARGE_BYTES), key=lambda call: call.since)
        # the first goes on: where it does not fit even then, it is refused once it is whole
        while len(large) > 1 and self._admission.is_overfull():
            self._end(large.pop(), RefusalReason.QUEUE_FULL, "more bytes are on their way than receiver.max_bytes_in_flight allows")

    def _sizes(self, calls: list[_Call]) -> dict[_Call, int | None]:
        """Give how much has come of each call's message at the most, None where nobody knows; calls of one connection count alike."""
        by_peer: dict[str, list[_Call]] = {}
        for call in calls:
            by_peer.setdefault(call.peer, []).append(call)
        received = self._sockets.received(list(by_peer)) if by_peer else {}
        self._received = {peer: self._since_first_look(peer, count, frozenset(by_peer[peer])) for peer, count in received.items()}
        sizes: dict[_Call, int | None] = {}
        for peer, its in by_peer.items():
            known = self._received.get(peer)
            came = None if known is None else max(0, received[peer] - known.before - known.taken) // len(its)
            sizes |= dict.fromkeys(its, came)
        return sizes

    def _since_first_look(self, peer: str, received: int, calls: frozenset[_Call]) -> _Received:
        """Go on counting what comes on a connection; from now on where none of the calls is left that waited at the last look.

        Of a connection that has sent no message before, all that came belongs to those that wait.
        """
        before = self._received.get(peer)
        if before is not None and before.calls & calls:
            before.calls = calls
            return before
        return _Received(received if peer in self._largest else 0, calls=calls)

    def _resize(self, call: _Call, came: int | None, now: float) -> None:
        is_slow = call.since + SLOW_SECONDS <= now
        if came is None:
            size = LEAST_BYTES if is_slow else call.room.size
        elif came < LARGE_BYTES and (is_slow or call.peer not in self._largest):
            size = self._bounded(_EXPECTED_TIMES_LARGEST * came)
        else:
            size = max(call.room.size, self._bounded(_EXPECTED_TIMES_LARGEST * came))
        if size != call.room.size:
            call.room.resize(size)

    def _end(self, call: _Call, reason: RefusalReason, message: str) -> None:
        call.refusal = RefusedError(message, reason=reason, code=RpcCode.UNAVAILABLE, retry_after_seconds=self._admission.retry_after_seconds())
        call.room.resize(0)
        _cancel(call.context)


def _cancel(context: grpc.ServicerContext) -> None:
    context.cancel()  # type: ignore[no-untyped-call]
