"""OTLP over HTTP: the application behind the receiver's own HTTP/1.1 protocol."""

from __future__ import annotations

from traced.listening import AsgiServer, Endpoint
from traced.receiver.http_app import OtlpApp
from traced.receiver.http_protocol import OtlpHttpProtocol


class HttpServer:
    """Listens from `start` to `stop`."""

    def __init__(self, endpoint: Endpoint, app: OtlpApp) -> None:
        """Keep the parts; nothing starts."""
        self._app = app
        self._server = AsgiServer(endpoint, app, "otlp-http", OtlpHttpProtocol)

    @property
    def address(self) -> str:
        """Give HOST:PORT really bound, once started."""
        return self._server.address

    @property
    def alive(self) -> bool:
        """Whether requests are served."""
        return self._server.alive

    def start(self) -> None:
        """Bind and serve.

        Raises:
            PortTakenError: the address cannot be bound.
        """
        self._server.start()

    def stop(self, grace_seconds: float) -> None:
        """Take no more requests, wait so long for answers under way, then close; afterwards the port is free."""
        self.stop_reading()
        self._server.stop(grace_seconds)
        self._app.close()

    def stop_reading(self) -> None:
        """Refuse the requests whose bodies are still coming."""
        self._server.call_soon(self._app.stop_reading)
