"""The web application: routes of every room behind one guard, with one shape of error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from traced.api.answers import on_bug, on_http_error, on_traced_error
from traced.api.guard import AllowedHosts, Guard
from traced.errors import TracedError


def build_app(*routes: Sequence[BaseRoute], bound_host: str, allowed_hosts: Iterable[str] = ()) -> Starlette:
    """Build the application.

    Args:
        routes: the routes of each room (API, pages), earlier ones win.
        bound_host: the host that the server is bound to, as configured.
        allowed_hosts: further names under which it is reached.
    """
    return Starlette(
        routes=[route for some in routes for route in some],
        middleware=[Middleware(Guard, allowed=AllowedHosts(bound_host, allowed_hosts))],
        exception_handlers={TracedError: on_traced_error, HTTPException: on_http_error, Exception: on_bug},
    )
