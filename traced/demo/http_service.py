"""HTTP between the shop's services: a server with routes and an instrumented client, on loopback, from the standard library."""

from __future__ import annotations

import http.client
import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, cast

from traced.demo.instrumentation import ServiceTelemetry, answered

_log = logging.getLogger("traced.demo")

LOOPBACK: Final = "127.0.0.1"
CALL_TIMEOUT_SECONDS: Final = 5.0
MAX_BODY_BYTES: Final = 65_536

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """A request that came in: the route's parameters and the JSON body."""

    parameters: Mapping[str, str] = field(default_factory=dict)
    body: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Response:
    """An answer: status and JSON body."""

    status: int = 200
    body: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """Method and path template, and what answers them."""

    method: str
    template: str
    handler: Callable[[Request], Response]

    def parameters(self, path: str) -> dict[str, str] | None:
        """Give the template's parameters as found in the path; None if the path does not fit."""
        wanted, given = self.template.split("/"), path.split("/")
        if len(wanted) != len(given):
            return None
        found: dict[str, str] = {}
        for part, value in zip(wanted, given, strict=True):
            if part.startswith("{"):
                found[part.strip("{}")] = value
            elif part != value:
                return None
        return found


class HttpServer:
    """One service's HTTP server: a thread that accepts, and one for each request."""

    def __init__(self, telemetry: ServiceTelemetry, routes: tuple[Route, ...]) -> None:
        """Bind a free loopback port; nothing is answered before `start`."""
        self._server = _Server(telemetry, routes)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name=f"shop-{telemetry.service}")
        self.port: int = self._server.server_address[1]

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the requests in flight, then close the port."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that server_close() waits for them, and with them for their spans
    request_queue_size = 64

    def __init__(self, telemetry: ServiceTelemetry, routes: tuple[Route, ...]) -> None:
        self.telemetry = telemetry
        self.routes = routes
        super().__init__((LOOPBACK, 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 (the base class's parameters)
        _log.warning("%s could not answer %s", self.telemetry.service, client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    timeout = CALL_TIMEOUT_SECONDS

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        _log.debug(format, *args)

    def _answer(self) -> None:
        server = cast("_Server", self.server)
        route, parameters = self._find(server.routes)
        headers = {name.lower(): value for name, value in self.headers.items()}
        with server.telemetry.server_span(self.command, route.template if route else "", self.path, headers) as span:
            response = self._run(route, parameters)
            answered(span, response.status, error_from=500)
        # Written after the span ended: whoever has the answer knows that the span is complete.
        content = json.dumps(response.body).encode()
        self.send_response(response.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _find(self, routes: tuple[Route, ...]) -> tuple[Route | None, dict[str, str]]:
        for route in routes:
            parameters = route.parameters(self.path) if route.method == self.command else None
            if parameters is not None:
                return route, parameters
        return None, {}

    def _run(self, route: Route | None, parameters: dict[str, str]) -> Response:
        if route is None:
            return Response(404, {"message": "no such route"})
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            return Response(413, {"message": f"the body may have {MAX_BODY_BYTES} bytes"})
        try:
            body = json.loads(self.rfile.read(int(length)) or b"{}")
        except ValueError:
            body = None
        if not isinstance(body, dict):
            return Response(400, {"message": "the body is not a JSON object"})
        try:
            return route.handler(Request(parameters, body))
        except (OSError, http.client.HTTPException) as error:
            return Response(502, {"message": f"a service behind this one did not answer: {error}"})


def send(port: int, method: str, path: str, body: Json | None = None, headers: Mapping[str, str] | None = None) -> Response:
    """Send one request without any instrumentation.

    Raises:
        OSError, http.client.HTTPException: nobody answered.
    """
    content = json.dumps(body or {}).encode()
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=CALL_TIMEOUT_SECONDS)
    try:
        connection.request(method, path, content, {"Content-Type": "application/json", **(headers or {})})
        answer = connection.getresponse()
        return Response(answer.status, json.loads(answer.read()))
    finally:
        connection.close()


class HttpClient:
    """One service's instrumented HTTP client."""

    def __init__(self, telemetry: ServiceTelemetry, ports: Mapping[str, int]) -> None:
        """Keep who calls, and the shop's name service.

        Args:
            telemetry: the calling service.
            ports: port by service name; filled while the shop starts.
        """
        self._telemetry = telemetry
        self._ports = ports

    def call(
        self, peer: str, method: str, template: str, parameters: Mapping[str, str] | None = None, *, body: Json | None = None, inject: bool = True
    ) -> Response:
        """Call a service below the current span.

        Args:
            peer: the called service's name.
            method: HTTP method.
            template: path template.
            parameters: values for the template.
            body: JSON body.
            inject: False leaves out the headers that carry the context, as an uninstrumented helper does.

        Raises:
            OSError, http.client.HTTPException: nobody answered.
        """
        path = template.format_map(parameters or {})
        port = self._ports[peer]
        with self._telemetry.client_span(method, template, path, peer, port) as span:
            headers = {"Host": f"{peer}:{port}", "User-Agent": f"shop-{self._telemetry.service}"}
            if inject:
                headers |= self._telemetry.inject()
            response = send(port, method, path, body, headers)
            answered(span, response.status, error_from=400)
            return response
