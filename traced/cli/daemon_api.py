"""Asks a running daemon through its JSON API, as any other program would."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

from traced.errors import ConfigurationError, TracedError, UnreachableError

MAX_ANSWER_BYTES: Final = 64 * 2**20


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A daemon redirects nobody; whoever does is not one."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Follow nothing."""


class DaemonApi:
    """The JSON API of the daemon at one URL."""

    def __init__(self, url: str, timeout_seconds: float = 60.0) -> None:
        """Keep where to ask.

        Raises:
            ConfigurationError: the URL is not an http or https one.
        """
        try:
            parts = urlsplit(url)
            usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port)
        except ValueError:
            usable = False
        if not usable:
            raise ConfigurationError(f"{url!r} is not the URL of a daemon", next_safe_actions=("Give it like http://127.0.0.1:4320.",))
        self._url = url.rstrip("/")
        self._timeout = timeout_seconds
        # No proxy: the daemon is on this machine or on the same network.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects)

    def get(self, *path: str, **params: object) -> dict[str, Any]:
        """Ask for `/api/v1/` and the path's parts; parameters of None are left out.

        Raises:
            UnreachableError: nobody answers, or not a daemon.
            TracedError: the daemon answered with an error, which is passed on as it is.
        """
        query, url = urlencode({name: value for name, value in params.items() if value is not None}), self._at(path)
        return self._ask(urllib.request.Request(f"{url}?{query}" if query else url, headers={"Accept": "application/json"}))  # noqa: S310 - scheme checked above

    def post(self, *path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Post a JSON body to `/api/v1/` and the path's parts; errors as with `get`."""
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        return self._ask(urllib.request.Request(self._at(path), json.dumps(body).encode(), headers))  # noqa: S310 - scheme checked above

    def _at(self, path: tuple[str, ...]) -> str:
        return f"{self._url}/api/v1/{'/'.join(quote(part, safe='') for part in path)}"

    def metrics(self) -> str:
        """Ask for `/metrics` as text; errors as with `get`."""
        return self._read(urllib.request.Request(f"{self._url}/metrics", headers={"Accept": "text/plain"})).decode("utf-8", "replace")  # noqa: S310

    def _ask(self, request: urllib.request.Request) -> dict[str, Any]:
        try:
            answer = json.loads(self._read(request))
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise self._stranger("answers with something that is not JSON")
        return answer

    def _read(self, request: urllib.request.Request) -> bytes:
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                content: bytes = response.read(MAX_ANSWER_BYTES + 1)
        except urllib.error.HTTPError as error:
            with error:
                raise self._said(error.code, error.read(2**20)) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise UnreachableError(
                f"no daemon answers at {self._url}: {reason}",
                next_safe_actions=("Start one with `traced serve`, or name another with --url.", "Look at the log of the daemon if it should be running."),
            ) from None
        if len(content) > MAX_ANSWER_BYTES:
            raise self._stranger(f"answers with more than {MAX_ANSWER_BYTES} bytes")
        return content

    def _said(self, status: int, body: bytes) -> TracedError:
        """Give the daemon's own error, or say that a stranger answered."""
        try:
            told = json.loads(body)
            actions = tuple(str(action) for action in told["next_safe_actions"])
            return TracedError(str(told["message"]), next_safe_actions=actions, status=status, error_code=str(told["error_code"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            return self._stranger(f"answers with HTTP {status}")

    def _stranger(self, what: str) -> UnreachableError:
        return UnreachableError(
            f"{self._url} {what}: this is not the daemon's port for people and machines",
            next_safe_actions=("Check the port: 4320 by default; 4317 and 4318 take telemetry only.",),
        )
