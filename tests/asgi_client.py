"""Asks an ASGI application without a socket, and shows what a real server would answer when a handler raises."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
from fake_views import NOW, FakeViews
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from traced.api.app import build_app
from traced.api.routes import api_routes
from traced.api.sources import Sources
from traced.metrics.exposition import expose
from traced.pages.routes import page_routes

DOCUMENTATION = {
    "summary": "A span names a parent that never came.",
    "criteria": "All of these hold:\n- the parent is absent\n- the trace has settled",
    "rationale": "The trace looks broken.",
    "how_to_fix": "Look at the exporter.\n\nThen at the network.",
    "when_it_is_wrong": "When the parent is older than the retention.",
}


def app_over(views: FakeViews, bound_host: str = "127.0.0.1", **changed: Any) -> Starlette:
    """Build the whole application over one fake, parts of which may be exchanged by name."""
    parts = dict.fromkeys(("findings", "graph", "messages", "traces", "status", "migrations"), views) | {k: v for k, v in changed.items() if k != "queries"}
    metrics = expose(CollectorRegistry(), parts["findings"], views, views, parts["migrations"], views, max_series=100, version="0.1.0")
    sources = Sources(**parts, queries=changed.get("queries", views), metrics=metrics)
    pages = page_routes(**parts, documentation=lambda _: DOCUMENTATION, clock=lambda: NOW)
    return build_app(api_routes(sources), pages, bound_host=bound_host)


def ask(app: Starlette, path: str, method: str = "GET", base: str = "http://127.0.0.1:4320", **request: Any) -> httpx.Response:
    """Send one request."""

    async def run() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=base) as client:
            return await client.request(method, path, **request)

    return asyncio.run(run())
