"""What works in the shop without being asked over HTTP: consumers of the queue and background jobs, a thread each."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Final

from traced.demo.instrumentation import ServiceTelemetry
from traced.demo.message_queue import Message, MessageQueue

_log = logging.getLogger("traced.demo")

POLL_SECONDS: Final = 0.2
MAX_DUE_RUNS: Final = 100


class QueueConsumer:
    """One consumer group of one destination: receives, processes below a CONSUMER span, acknowledges."""

    def __init__(self, telemetry: ServiceTelemetry, messages: MessageQueue, destination: str, process: Callable[[Message], None], *, linked: bool) -> None:
        """Keep what to do; nothing is received before `start`.

        Args:
            telemetry: the consuming service, whose name is the group's name.
            messages: the queue.
            destination: its name.
            process: the work; an error leaves the message for another attempt.
            linked: see `ServiceTelemetry.consumer_span`.
        """
        self._telemetry = telemetry
        self._messages = messages
        self._destination = destination
        self._process = process
        self._linked = linked
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"shop-{telemetry.service}-consumer")

    def start(self) -> None:
        """Begin to receive."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the message at hand; others stay in the queue."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        group = self._telemetry.service
        while not self._stopping.is_set():
            try:
                self._consume_one(group)
            except Exception:  # noqa: BLE001 (a thread's root: the message comes again)
                _log.exception("%s could not process a message", group)
                self._stopping.wait(POLL_SECONDS)

    def _consume_one(self, group: str) -> None:
        message = self._messages.receive(self._destination, group, wait_seconds=POLL_SECONDS)
        if message is None:
            return
        with self._telemetry.consumer_span(self._destination, message.message_id, group, message.headers, linked=self._linked):
            self._process(message)
        # After the span's end: an empty queue means that every CONSUMER span is complete.
        self._messages.acknowledge(message)


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
