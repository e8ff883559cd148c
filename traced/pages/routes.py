"""The paths people open, and what each shows."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from traced.errors import InvalidRequestError, NotFoundError, OverloadedError, TracedError
from traced.model.span import parse_trace_id, trace_id_hex
from traced.model.views import FindingsView, GraphView, MessageGraphView, MigrationView, StatusView, TraceView
from traced.pages.home import home, messages
from traced.pages.logs import MAX_ROWS as MAX_LOGS
from traced.pages.logs import logs_of
from traced.pages.migrations import migrations_page
from traced.pages.rendering import HERE, page
from traced.pages.tree import MAX_SPANS, tree_of

THREADS = 4
WAITING = 16
"""Pages that may wait for a thread; more are told to come back."""

T = TypeVar("T")
Documentation = Callable[[str], dict[str, str] | None]
"""A detector's id to its documentation: summary, criteria, rationale, how_to_fix, when_it_is_wrong; None if unknown."""


def page_routes(
    findings: FindingsView,
    graph: GraphView,
    messages: MessageGraphView,
    traces: TraceView,
    status: StatusView,
    migrations: MigrationView,
    documentation: Documentation,
    *,
    clock: Callable[[], float] = time.time,
) -> list[BaseRoute]:
    """Give the routes of the pages.

    Args:
        findings: the ledger.
        graph: the service graph.
        messages: the message graph.
        traces: one trace out of the store.
        status: the daemon's health.
        migrations: how they stand.
        documentation: what a detector means and how to fix what it finds.
        clock: the present in unix seconds.
    """
    pages = _Pages(findings, graph, messages, traces, status, migrations, documentation, clock)
    return [
        Route("/", pages.home),
        Route("/findings/{fingerprint}", pages.finding),
        Route("/traces/{trace_id}", pages.trace),
        Route("/migrations", pages.migrations),
        Mount("/static", StaticFiles(directory=HERE / "static"), name="static"),
    ]


class _Pages:
    """The handlers, with what they show."""

    def __init__(
        self,
        findings: FindingsView,
        graph: GraphView,
        messages: MessageGraphView,
        traces: TraceView,
        status: StatusView,
        migrations: MigrationView,
        documentation: Documentation,
        clock: Callable[[], float],
    ) -> None:
        self._findings = findings
        self._graph = graph
        self._messages = messages
        self._traces = traces
        self._status = status
        self._migrations = migrations
        self._documentation = documentation
        self._clock = clock
        self._threads = anyio.CapacityLimiter(THREADS)

    async def _show(self, request: Request, build: Callable[[], Response]) -> Response:
        """Build a page in a thread; an error becomes a page for a browser, and JSON (by the application) for a program."""
        try:
            if self._threads.statistics().tasks_waiting >= WAITING:
                raise OverloadedError("too many pages wait to be built", retry_after_seconds=2, reason="pages_waiting")
            return await anyio.to_thread.run_sync(build, limiter=self._threads)
        except TracedError as error:
            if "text/html" not in request.headers.get("accept", ""):
                raise
            return page("error.html", {"error": error}, error.status)

    async def home(self, request: Request) -> Response:
        """Show the first page."""
        return await self._show(request, self._home)

    def _home(self) -> Response:
        findings = self._findings.findings()
        shown = home(self._status.status(), findings, self._findings.suspects(findings), self._graph.edges(None, None), self._clock())
        return page("home.html", shown | messages(self._messages.message_edges(None, None)))

    async def finding(self, request: Request) -> Response:
        """Show one finding with its evidence and what its detector's documentation says."""
        return await self._show(request, partial(self._finding, request.path_params["fingerprint"].lower()))

    def _finding(self, fingerprint: str) -> Response:
        found = self._findings.finding(fingerprint)
        if found is None:
            raise NotFoundError(
                f"no open finding has the fingerprint {fingerprint[:64]!r}",
                error_code="finding_not_found",
                next_safe_actions=("See the open ones on the first page; this one may have been resolved.",),
            )
        return page("finding.html", {"finding": found, "documentation": self._documentation(found.id) or {}})

    async def migrations(self, request: Request) -> Response:
        """Show how all migrations stand."""
        return await self._show(request, lambda: page("migrations.html", migrations_page(self._migrations)))

    async def trace(self, request: Request) -> Response:
        """Show one trace: its spans as an indented list, and its log records."""
        return await self._show(request, partial(self._trace, request.path_params["trace_id"]))

    def _trace(self, text: str) -> Response:
        try:
            trace_id = parse_trace_id(text)
        except ValueError as error:
            raise InvalidRequestError(str(error), error_code="trace_id_invalid", next_safe_actions=("Give 1 to 32 hex digits.",)) from None
        stored = self._traces.trace(*trace_id, MAX_SPANS, MAX_LOGS)
        if not stored.total_spans and not stored.total_logs:
            raise NotFoundError(
                f"no span or log record of trace {trace_id_hex(*trace_id)} is stored",
                error_code="trace_not_found",
                next_safe_actions=("Check the id; the trace may be older than the retention, or never have arrived.",),
            )
        occurrences = self._findings.of_trace(trace_id)
        tree = tree_of(stored.spans, occurrences, stored.beyond, has_root=stored.has_root)
        beside = {occurrence.key for row in tree.rows for occurrence in row.occurrences}
        shown = {
            "trace_id": trace_id_hex(*trace_id),
            "tree": tree,
            "elsewhere": [o for o in occurrences if o.key not in beside],
            "total_spans": stored.total_spans,
            "logs": logs_of(stored.logs, stored.total_logs),
            "shown_spans": {row.span_id for row in tree.rows if not row.missing},
        }
        return page("trace.html", shown)
