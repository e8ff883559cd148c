"""The paths of the JSON API and what each answers.

Whatever may block (the store, a query, a scrape) runs in threads, a bounded number of them per kind: slow queries must
not keep the probes waiting.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from traced.api import migrations
from traced.api.answers import json_response
from traced.api.openapi import OPENAPI
from traced.api.sources import Sources
from traced.api.spans import is_complete, logs_as_json, spans_as_json
from traced.errors import InvalidRequestError, NotFoundError, OverloadedError, TooLargeError, TracedError
from traced.model.edge import Edge
from traced.model.finding import Finding
from traced.model.occurrence import Level
from traced.model.span import parse_trace_id, trace_id_hex

STORE_THREADS = 4
STORE_WAITING = 16
"""Requests that may wait for a store thread; more are told to come back."""
VIEW_THREADS = 8
MAX_BODY_BYTES = 1024 * 1024
BODY_TIMEOUT_SECONDS = 30.0
MAX_SPANS = 10_000
"""Spans (and log records) of one trace in an answer; of more the earliest are read, and the answer says so."""
MAX_FINDINGS = 5_000
DEFAULT_FINDINGS = 1_000

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]


def api_routes(sources: Sources) -> list[Route]:
    """Give the routes of the API over its sources."""
    api = _Api(sources)
    return [
        Route("/api/v1/findings", api.findings),
        Route("/api/v1/findings/{fingerprint}", api.finding),
        Route("/api/v1/graph", api.graph),
        Route("/api/v1/migrations", api.migrations),
        Route("/api/v1/migrations/{name}", api.migration),
        Route("/api/v1/migrations/{name}/check", api.check, methods=["POST"]),
        Route("/api/v1/traces/{trace_id}", api.trace),
        Route("/api/v1/status", api.status),
        Route("/api/v1/queries", api.queries),
        Route("/api/v1/query", api.query, methods=["POST"]),
        Route("/api/v1/openapi.json", api.openapi),
        Route("/livez", api.livez),
        Route("/readyz", api.readyz),
        Route("/metrics", api.metrics),
    ]


class _Api:
    """The handlers, with what they answer from."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._store_threads = anyio.CapacityLimiter(STORE_THREADS)
        self._view_threads = anyio.CapacityLimiter(VIEW_THREADS)

    async def _view(self, ask: Callable[[], T]) -> T:
        """Ask a snapshot in a thread: it is quick, but it may wait for a lock."""
        return await anyio.to_thread.run_sync(ask, limiter=self._view_threads)

    async def _store(self, ask: Callable[[], T]) -> T:
        """Ask the store in a thread; the number of those waiting is bounded."""
        if self._store_threads.statistics().tasks_waiting >= STORE_WAITING:
            raise OverloadedError("too many requests wait for the store", retry_after_seconds=2, reason="queries_waiting")
        return await anyio.to_thread.run_sync(ask, limiter=self._store_threads)

    async def findings(self, request: Request) -> Response:
        """Answer the open findings that pass the filters, worst first, and the suspects that explain them."""
        asked = {name: request.query_params[name] for name in ("service", "id", "level", "cause") if name in request.query_params}
        if "level" in asked and asked["level"] not in set(Level):
            raise InvalidRequestError(f"level {asked['level'][:64]!r} is none of {', '.join(Level)}", next_safe_actions=("Use one of the levels named.",))
        limit = _limit(request, DEFAULT_FINDINGS, MAX_FINDINGS)

        def answer() -> Response:
            findings = self._sources.findings.findings()
            suspects = self._sources.findings.suspects(findings)
            matching = [f for f in findings if _passes(f, asked)]
            wanted = {f.fingerprint for f in matching}
            explaining = [s for s in suspects.ranked if not wanted.isdisjoint(s.findings)]
            return json_response(
                {
                    "findings": [f.as_dict() for f in matching[:limit]],
                    "suspects": [s.as_dict() for s in explaining[:limit]],
                    "total": len(matching),
                    "not_grouped": suspects.not_grouped,
                    "truncated": len(matching) > limit,
                },
            )

        return await self._view(answer)

    async def finding(self, request: Request) -> Response:
        """Answer one open finding."""
        fingerprint = request.path_params["fingerprint"].lower()
        found = await self._view(partial(self._sources.findings.finding, fingerprint))
        if found is None:
            raise NotFoundError(
                f"no open finding has the fingerprint {fingerprint[:64]!r}",
                error_code="finding_not_found",
                next_safe_actions=("List the open ones with GET /api/v1/findings; this one may have been resolved.",),
            )
        return json_response(found.as_dict())

    async def graph(self, request: Request) -> Response:
        """Answer the service graph and the message graph, of all that is remembered or of a time range."""
        start, end = _seconds(request, "start"), _seconds(request, "end")
        if start is not None and end is not None and start > end:
            raise InvalidRequestError("start is after end", next_safe_actions=("Give unix seconds with start <= end.",))

        def answer() -> Response:
            edges: tuple[Edge, ...] = self._sources.graph.edges(start, end)
            messages = self._sources.messages.message_edges(start, end)
            return json_response(
                {"service_graph": {"edges": [edge.as_dict() for edge in edges]}, "message_graph": {"edges": [edge.as_dict() for edge in messages]}},
            )

        return await self._view(answer)

    async def trace(self, request: Request) -> Response:
        """Answer one trace with the findings on it."""
        try:
            trace_id = parse_trace_id(request.path_params["trace_id"])
        except ValueError as error:
            raise InvalidRequestError(str(error), error_code="trace_id_invalid", next_safe_actions=("Give 1 to 32 hex digits.",)) from None
        return await self._store(partial(self._trace, trace_id))

    def _trace(self, trace_id: tuple[int, int]) -> Response:
        stored = self._sources.traces.trace(*trace_id, MAX_SPANS, MAX_SPANS)
        if not stored.total_spans and not stored.total_logs:
            raise NotFoundError(
                f"no span or log record of trace {trace_id_hex(*trace_id)} is stored",
                error_code="trace_not_found",
                next_safe_actions=("Check the id; the trace may be older than the retention, or never have arrived.",),
            )
        return json_response(
            {
                "trace_id": trace_id_hex(*trace_id),
                "complete": is_complete(stored),
                "spans": spans_as_json(stored.spans),
                "total_spans": stored.total_spans,
                "logs": logs_as_json(stored.logs),
                "total_logs": stored.total_logs,
                "truncated": stored.truncated,
                "findings": [occurrence.as_evidence() for occurrence in self._sources.findings.of_trace(trace_id)],
            },
        )

    async def migrations(self, _: Request) -> Response:
        """Answer how all migrations stand."""
        return json_response(await self._store(partial(migrations.migrations, self._sources.migrations)))

    async def migration(self, request: Request) -> Response:
        """Answer how one migration stands."""
        return json_response(await self._store(partial(migrations.migration, self._sources.migrations, request.path_params["name"])))

    async def check(self, request: Request) -> Response:
        """Answer the verdict of a gate, and remember that it was asked for."""
        body = await _body(request)
        return json_response(await self._store(partial(migrations.check, self._sources.migrations, request.path_params["name"], body)))

    async def status(self, _: Request) -> Response:
        """Answer how the daemon is."""
        return json_response((await self._view(self._sources.status.status)).as_dict())

    async def queries(self, _: Request) -> Response:
        """Answer which named queries there are."""
        named = await self._view(self._sources.queries.names)
        return json_response({"queries": [{"name": name, "question": question, "params": list(params)} for name, question, params in named]})

    async def query(self, request: Request) -> Response:
        """Run a named query or the caller's SQL."""
        text, params, is_name = _query_of(await _body(request))
        result = await self._store(lambda: self._sources.queries.run(text, params, is_name))
        return json_response({"columns": result.columns, "rows": result.rows, "truncated": result.truncated})

    async def openapi(self, _: Request) -> Response:
        """Answer the description of all this."""
        return json_response(OPENAPI)

    async def livez(self, _: Request) -> Response:
        """Answer 200 unless only a restart would help."""
        status = await self._view(self._sources.status.status)
        if status.alive:
            return json_response({"alive": True})
        reasons = ("a thread that must run has ended", *status.not_ready_reasons)
        return _unavailable("not_alive", reasons, "Restart the daemon; its log says more.")

    async def readyz(self, _: Request) -> Response:
        """Answer 200 when the daemon can take and answer requests, else 503 with the reasons."""
        status = await self._view(self._sources.status.status)
        if status.ready:
            return json_response({"ready": True})
        return _unavailable("not_ready", status.not_ready_reasons, "Wait and ask again; GET /api/v1/status tells more.")

    async def metrics(self, request: Request) -> Response:
        """Answer a scrape."""
        body, content_type = await self._view(partial(self._sources.metrics.negotiate, request.headers.get("accept", "")))
        return Response(body, headers={"content-type": content_type})


def _passes(finding: Finding, asked: dict[str, str]) -> bool:
    return all(getattr(finding, name) == value for name, value in asked.items())


def _unavailable(code: str, reasons: tuple[str, ...], action: str) -> Response:
    message = "; ".join(reasons) or "no reason was given"
    return json_response({"status": 503, "error_code": code, "message": message, "next_safe_actions": [action], "reasons": list(reasons)}, 503)


def _limit(request: Request, default: int, most: int) -> int:
    text = request.query_params.get("limit")
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= most):
        raise InvalidRequestError(f"limit {text[:32]!r} is not a number from 1 to {most}", next_safe_actions=("Correct or leave out `limit`.",))
    return int(text)


def _seconds(request: Request, name: str) -> float | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise InvalidRequestError(f"{name} {text[:32]!r} is not a time in unix seconds", next_safe_actions=(f"Correct or leave out `{name}`.",))
    return seconds


async def _body(request: Request) -> bytes:
    """Read a body up to the limits of size and time and no further, whatever Content-Length says."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > MAX_BODY_BYTES:
                    raise TooLargeError(f"the body is over {MAX_BODY_BYTES} bytes", next_safe_actions=("Send a shorter query.",))
                parts.append(part)
    except TimeoutError:
        message = f"the body did not arrive within {BODY_TIMEOUT_SECONDS:g} s"
        raise TracedError(message, status=408, error_code="body_timeout", next_safe_actions=("Send the whole body at once.",)) from None
    except ClientDisconnect:  # nobody is there to read this; that senders go is no fault of ours to be logged
        raise InvalidRequestError("the body ended early", next_safe_actions=("Send the whole body.",)) from None
    return b"".join(parts)


def _query_of(body: bytes) -> tuple[str, dict[str, Any], bool]:
    """Give (SQL or name, parameters, whether it is a name) of a query's body."""
    actions = ('Send {"name": "…", "params": {}} or {"sql": "…", "params": {}}.', "GET /api/v1/queries lists the names.")
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidRequestError("the body is not JSON", next_safe_actions=actions) from None
    if not isinstance(asked, dict) or ("sql" in asked) == ("name" in asked):
        raise InvalidRequestError("the body must be an object with either `sql` or `name`", next_safe_actions=actions)
    text, params = asked.get("sql", asked.get("name")), asked.get("params", {})
    unknown = sorted(set(asked) - {"sql", "name", "params"})
    if unknown:
        raise InvalidRequestError(f"the body has the unknown key {unknown[0][:64]!r}", next_safe_actions=actions)
    if not isinstance(text, str) or not text.strip():
        raise InvalidRequestError("`sql` or `name` must be text that is not empty", next_safe_actions=actions)
    if not isinstance(params, dict) or not all(isinstance(value, str | int | float | bool | None) for value in params.values()):
        raise InvalidRequestError("`params` must be an object of texts, numbers, booleans and nulls", next_safe_actions=actions)
    return text, params, "name" in asked
