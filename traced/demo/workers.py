"""What works in the shop without being asked over HTTP: consumers of the queue and background jobs, a thread each."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Final

from traced.demo.instrumentation import ServiceTelemetry
from traced.demo.message_queue import Broker, Message
from traced.demo.rollout import Schema

_log = logging.getLogger("traced.demo")

POLL_SECONDS: Final = 0.2
MAX_DUE_RUNS: Final = 100


class QueueConsumer:
    """One consumer group: receives, processes below a CONSUMER span, acknowledges."""

    def __init__(
        self,
        telemetry: ServiceTelemetry,
        messages: Broker,
        reads: Callable[[], Schema | None],
        process: Callable[[Message], None],
        *,
        linked: bool,
        every_seconds: float = 0.0,
    ) -> None:
        """Keep what to do; nothing is received before `start`.

        Args:
            telemetry: the consuming service, whose name is the group's name.
            messages: the broker.
            reads: which schema it is to read by now; None for nothing new. It is asked by `follow`.
            process: the work; an error leaves the message for another attempt.
            linked: see `ServiceTelemetry.consumer_span`.
            every_seconds: how often it takes all that has come; 0 for at once.
        """
        self._telemetry = telemetry
        self._messages = messages
        self._reads = reads
        self._process = process
        self._linked = linked
        self._every_seconds = every_seconds
        self._schemas: tuple[Schema, ...] = ()
        """What it takes messages of: last what it is subscribed to, before that what it was, of which messages may still wait."""
        self._subscribed: Schema | None = None
        self._stopping = threading.Event()
        self._hurried = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"shop-{telemetry.service}-consumer")

    def follow(self) -> None:
        """Subscribe to what is to be read by now, and leave what was read before, of which what waits is still taken."""
        wanted = self._reads()
        if wanted == self._subscribed:
            return
        if wanted is not None:
            self._messages.subscribe(wanted.destination, self._telemetry.service)
            self._schemas = (*(schema for schema in self._schemas if schema != wanted), wanted)
        if self._subscribed is not None:
            self._messages.unsubscribe(self._subscribed.destination, self._telemetry.service)
        self._subscribed = wanted

    def start(self) -> None:
        """Begin to receive."""
        self.follow()
        self._thread.start()

    def hurry(self) -> None:
        """Take messages at once from now on, though it is not time yet."""
        self._hurried.set()

    def stop(self) -> None:
        """Finish the message at hand; others stay in the queue."""
        self._stopping.set()
        self._hurried.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        group = self._telemetry.service
        while not self._stopping.is_set():
            if self._every_seconds:
                self._hurried.wait(self._every_seconds)
            try:
                while self._consume_one(group) and not self._stopping.is_set():
                    pass
            except Exception:  # noqa: BLE001 (a thread's root: the message comes again)
                _log.exception("%s could not process a message", group)
                self._stopping.wait(POLL_SECONDS)

    def _consume_one(self, group: str) -> bool:
        """Process one message; say whether there was one."""
        schemas = self._schemas
        for schema in schemas:
            message = self._messages.receive(schema.destination, group, wait_seconds=POLL_SECONDS if schema is schemas[-1] else 0)
            if message is not None:
                with self._telemetry.consumer_span(schema, message.message_id, group, message.headers, linked=self._linked):
                    self._process(message)
                # After the span's end: an empty queue means that every CONSUMER span is complete.
                self._messages.acknowledge(message)
                return True
        return False


class BackgroundJob:
    """Work that a service does by itself, once in so many shop requests, so that a count of requests decides all.

    Attributes:
        skipped: runs left out because MAX_DUE_RUNS were waiting.
    """

    def __init__(self, name: str, every: int, action: Callable[[], None]) -> None:
        """Keep what to do; nothing runs before `start`."""
        self._every = every
        self._action = action
        self._requests = 0
        self._due: queue.Queue[bool] = queue.Queue(MAX_DUE_RUNS)
        self._thread = threading.Thread(target=self._run, name=f"shop-{name}")
        self._name = name
        self.skipped = 0

    def start(self) -> None:
        """Begin to wait for runs."""
        self._thread.start()

    def request_served(self) -> None:
        """Count a shop request; to be called by one thread at a time."""
        self._requests += 1
        if self._requests % self._every == 0:
            try:
                self._due.put_nowait(True)
            except queue.Full:
                self.skipped += 1

    @property
    def is_idle(self) -> bool:
        """Tell whether no run is due or going on."""
        return self._due.unfinished_tasks == 0

    def stop(self) -> None:
        """Finish the runs that are due."""
        if self._thread.is_alive():
            self._due.put(False)
            self._thread.join()

    def _run(self) -> None:
        while self._due.get():
            try:
                self._action()
            except Exception:  # noqa: BLE001 (a thread's root: the next run comes)
                _log.exception("the job %s failed", self._name)
            finally:
                self._due.task_done()


def wait_until(condition: Callable[[], bool], deadline: float) -> bool:
    """Wait until something holds, at most until a time of the monotonic clock; tell whether it does."""
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
    return True
