"""Who may ask: a browser that was lured here under another name is refused (DNS rebinding), and so are foreign origins."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from traced.api.answers import error_response
from traced.errors import OverloadedError, TracedError

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_SAFE_METHODS = frozenset({"GET", "HEAD"})
_RESTART_SECONDS = 5
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
}


class AllowedHosts:
    """The names under which this server answers.

    Bound to loopback, it answers to loopback's names only. Bound to an address that others reach, also to that address;
    bound to all addresses (0.0.0.0, ::), to any IP address: rebinding needs a name, an address cannot be rebound.
    """

    def __init__(self, bound_host: str, names: Iterable[str] = ()) -> None:
        """Allow loopback's names, the bound host and further names (a Service's, a proxy's)."""
        bound = bound_host.strip("[]").lower()
        self._names = _LOOPBACK_NAMES | {bound} | {name.lower() for name in names}
        address = _address(bound)
        self._any_address = address is not None and address.is_unspecified

    def allows(self, host: str) -> bool:
        """Whether a Host header (NAME, NAME:PORT, [ADDRESS]:PORT) names this server."""
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            return False
        if not name:
            return False
        name = name.rstrip(".")
        return name in self._names or name.endswith(".localhost") or (self._any_address and _address(name) is not None)

    def allows_origin(self, origin: str) -> bool:
        """Whether an Origin header is a page of ours; `null` (a sandboxed or local page) is not."""
        scheme, separator, host = origin.partition("://")
        return bool(separator) and scheme in {"http", "https"} and self.allows(host)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


class Guard:
    """ASGI middleware: checks Host and Origin before anything else, and adds security headers to every answer."""

    def __init__(self, app: ASGIApp, allowed: AllowedHosts) -> None:
        self._app = app
        self._allowed = allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse or pass on one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._refusal(scope["method"], Headers(scope=scope))
        if refusal is not None:
            await error_response(refusal)(scope, receive, send_with_headers)
            return
        try:
            await self._app(scope, receive, send_with_headers)
        except asyncio.CancelledError:
            # the server cancels what is not answered when its time to stop is over, and nothing else does
            if started:
                raise
            stopping = OverloadedError("traced is shutting down", retry_after_seconds=_RESTART_SECONDS, reason="shutting_down")
            await error_response(stopping)(scope, receive, send_with_headers)

    def _refusal(self, method: str, headers: Headers) -> TracedError | None:
        host = headers.get("host")
        # every browser sends Host; what comes without (HTTP/1.0 probes) cannot be a lured browser
        if host is not None and not self._allowed.allows(host):
            return TracedError(
                f"this server does not answer as {host[:128]!r}",
                next_safe_actions=("Ask by the address that it is bound to, or as localhost on the same machine.",),
                status=421,
                error_code="host_not_allowed",
            )
        origin = headers.get("origin")
        if method not in _SAFE_METHODS and origin is not None and not self._allowed.allows_origin(origin):
            return TracedError(
                f"requests from pages of {origin[:128]!r} are not taken",
                next_safe_actions=("Send the request from a program, or from a page of this server.",),
                status=403,
                error_code="origin_not_allowed",
            )
        return None
