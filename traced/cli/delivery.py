"""Delivers a stream of requests to an endpoint: several at once, at a rate, with bounded retries."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any, Final

from traced.errors import UnreachableError
from traced.model.batch import Signal
from traced.model.input import InputRequest
from traced.receiver.client import ComeBackError, RefusedError, Target
from traced.receiver.walking import count_items

COUNT_LIMIT: Final = 10_000_000
"""Items counted in one request, for the figures."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long to go on with one request.

    Attributes:
        attempts: times it is sent while the endpoint answers that it is busy.
        attempts_unanswered: times it is sent while nobody answers at all.
        first_wait_seconds: before the second attempt, where the endpoint names no time; doubled each time.
        longest_wait_seconds: bounds every wait, also one that the endpoint named.
    """

    attempts: int = 12
    attempts_unanswered: int = 4
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 60.0

    def wait_seconds(self, attempt: int, named: float | None) -> float:
        """Give the wait after so many attempts: what was named, else a doubling time with jitter."""
        if named is not None:
            return min(named, self.longest_wait_seconds)
        return float(min(self.first_wait_seconds * 2 ** (attempt - 1), self.longest_wait_seconds) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter


@dataclass(slots=True)
class Delivered:
    """What became of everything; filled by several threads under `lock`.

    Attributes:
        spans: spans in requests that were acknowledged, without the rejected ones.
        log_records: the same of log records.
        metrics: metrics in requests that were acknowledged.
        requests: requests acknowledged.
        retries: times a request was sent again.
        rejected: items inside acknowledged requests that the endpoint did not take.
        refused_requests: requests that it will never take.
    """

    spans: int = 0
    log_records: int = 0
    metrics: int = 0
    requests: int = 0
    retries: int = 0
    rejected: int = 0
    refused_requests: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def as_dict(self, seconds: float) -> dict[str, Any]:
        """Give the figures as JSON; `seconds` is how long it took."""
        return {
            "spans": self.spans,
            "log_records": self.log_records,
            "metrics": self.metrics,
            "requests": self.requests,
            "seconds": round(seconds, 3),
            "spans_per_second": round(self.spans / seconds) if seconds > 0 else 0,
            "retries": self.retries,
            "rejected": self.rejected,
            "refused_requests": self.refused_requests,
        }


class Delivery:
    """Sends requests to one endpoint."""

    def __init__(
        self,
        endpoint: Target,
        report: Callable[[str], None],
        *,
        concurrency: int = 4,
        items_per_second: float | None = None,
        policy: RetryPolicy | None = None,
    ) -> None:
        """Keep how to send.

        Args:
            endpoint: takes the requests.
            report: called with a sentence for what was rejected or refused.
            concurrency: requests under way at once.
            items_per_second: spans and log records a second; None is as fast as it goes.
            policy: how to retry.
        """
        self._endpoint = endpoint
        self._report = report
        self._concurrency = concurrency
        self._rate = items_per_second
        self._policy = policy or RetryPolicy()
        self._stopped = threading.Event()
        self.delivered = Delivered()

    def run(self, requests: Iterable[InputRequest], progress: Callable[[Delivered], None] = lambda _: None) -> Delivered:
        """Send everything and give the figures; at most `concurrency` requests are in memory.

        Raises:
            UnreachableError: the endpoint does not answer, or stayed busy for all attempts; the figures so far stay in `delivered`.
        """
        pool = ThreadPoolExecutor(self._concurrency, thread_name_prefix="send")
        under_way: set[Future[None]] = set()
        due = time.monotonic()
        try:
            for request in requests:
                items = count_items(request.body, COUNT_LIMIT)[0]
                self._stopped.wait(max(0.0, due - time.monotonic()))
                if self._rate:
                    due = max(due, time.monotonic()) + items / self._rate
                if len(under_way) >= self._concurrency:
                    under_way = self._finish(under_way, progress)
                under_way.add(pool.submit(self._deliver, request, items))
            while under_way:
                under_way = self._finish(under_way, progress)
        finally:
            self._stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)
        return self.delivered

    def _finish(self, under_way: set[Future[None]], progress: Callable[[Delivered], None]) -> set[Future[None]]:
        done, rest = wait(under_way, return_when=FIRST_COMPLETED)
        for future in done:
            future.result()
        progress(self.delivered)
        return rest

    def _deliver(self, request: InputRequest, items: int) -> None:
        attempt = 0
        while not self._stopped.is_set():
            attempt += 1
            try:
                answer = self._endpoint.send(request.signal, request.body)
            except ComeBackError as error:
                self._wait(request, attempt, error)
                continue
            except RefusedError as error:
                with self.delivered.lock:
                    self.delivered.refused_requests += 1
                self._report(f"{request.origin}: refused: {error.message}")
                return
            self._count(request, items, answer.rejected)
            if answer.rejected or answer.message:
                self._report(f"{request.origin}: {answer.rejected} rejected: {answer.message}")
            return

    def _wait(self, request: InputRequest, attempt: int, error: ComeBackError) -> None:
        limit = self._policy.attempts if error.answered else self._policy.attempts_unanswered
        if attempt >= limit:
            self._stopped.set()
            what = "stayed busy" if error.answered else "does not answer"
            raise UnreachableError(
                f"the endpoint {what}, {attempt} attempts ({error.message}); the first request not delivered is {request.origin}",
                next_safe_actions=(
                    "Check that it is running and that --to names its OTLP port (4317 for gRPC, http://…:4318 for HTTP).",
                    "Then send the same files again; without --now, traced keeps one copy of a span that comes twice.",
                ),
            )
        with self.delivered.lock:
            self.delivered.retries += 1
        self._stopped.wait(self._policy.wait_seconds(attempt, error.after_seconds))

    def _count(self, request: InputRequest, items: int, rejected: int) -> None:
        with self.delivered.lock:
            self.delivered.requests += 1
            self.delivered.rejected += rejected
            if request.signal is Signal.TRACES:
                self.delivered.spans += items - rejected
            elif request.signal is Signal.LOGS:
                self.delivered.log_records += items - rejected
            else:
                # rejected ones are data points, of which a metric holds several
                self.delivered.metrics += items
