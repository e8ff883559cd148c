"""Addresses and the one way an ASGI application is served: on a socket bound beforehand, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from traced.errors import ConfigurationError, PortTakenError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

IDLE_TIMEOUT_SECONDS: Final = 60
HEADER_TIMEOUT_SECONDS: Final = 60.0
"""From connecting, or from the first byte of a further request, to the end of its headers (the Collector's default)."""
WRITE_TIMEOUT_SECONDS: Final = 30.0
"""How long what was answered may wait for its reader, who keeps it in memory meanwhile (the Collector's default)."""
MAX_HEADER_BYTES: Final = 64 * 1024
MAX_CONNECTIONS: Final = 1024
"""Open connections; each may cost a file descriptor and up to 64 KiB of body that nobody has read yet."""
_BUSY_RETRY_SECONDS: Final = 5
_LINGER_SECONDS: Final = 1.0
_START_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens.

    Attributes:
        host: a name or an address, without brackets.
        port: 0 takes a free one.
        setting: the setting to change when this address cannot be had, for example `receiver.otlp_grpc`.
        flag: the command line flag of the same.
    """

    host: str
    port: int
    setting: str
    flag: str

    @classmethod
    def parse(cls, address: str, setting: str, flag: str) -> Endpoint:
        """Read HOST:PORT or [IPV6]:PORT.

        Raises:
            ConfigurationError: there is no such port (the system would take it modulo 65,536).
        """
        host, _, port = address.rpartition(":")
        if int(port) > 65_535:
            message = f"setting {setting}: {address} has no valid port"
            raise ConfigurationError(message, next_safe_actions=("Choose a port from 0 (any free one) to 65535.",))
        return cls(host.removeprefix("[").removesuffix("]"), int(port), setting, flag)

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def at(self, port: int) -> str:
        """Give HOST:PORT with the port that was really bound."""
        return _joined(self.host, port)

    def bind(self) -> socket.socket:
        """Bind and listen; SO_REUSEPORT stays off, so that two daemons can never share a port unnoticed.

        A name with several addresses stands for one of them, IPv4 first.

        Raises:
            PortTakenError: naming the address, the reason, and the setting to change.
        """
        listener = None
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            family, kind, protocol, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
            listener = socket.socket(family, kind, protocol)
            # a port whose last connections are only waiting to be forgotten is free
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(1024)
        except OSError as error:
            if listener is not None:
                listener.close()
            raise self.taken(error.strerror or str(error)) from None
        return listener

    def probe(self) -> str:
        """Bind and let go again, for servers that bind by themselves and say little when they cannot.

        Returns:
            The numeric address with the port as set, so that 0 is still 0.

        Raises:
            PortTakenError: as `bind`.
        """
        with self.bind() as listener:
            return _joined(listener.getsockname()[0], self.port)

    def taken(self, reason: str) -> PortTakenError:
        """Say that the address cannot be bound, and what to do."""
        variable = "TRACED_" + self.setting.upper().replace(".", "__")
        return PortTakenError(
            f"cannot listen on {self.at(self.port)} (setting {self.setting}): {reason}",
            next_safe_actions=(
                f"See who listens there: ss -ltnp 'sport = :{self.port}'",
                f"Or give another address: {self.flag} HOST:PORT, or {variable}=HOST:PORT (port 0 takes a free one).",
            ),
        )


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class BoundedHttpProtocol(HttpToolsProtocol, ABC):
    """uvicorn's protocol, with limits for headers and connections, and answers of one's own to what is no request.

    Below the application: what uvicorn leaves open to slow, endless and malformed senders.
    """

    header_timeout_seconds: float = HEADER_TIMEOUT_SECONDS
    write_timeout_seconds: float = WRITE_TIMEOUT_SECONDS
    max_connections: int = MAX_CONNECTIONS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Start outside of any request."""
        super().__init__(*args, **kwargs)
        self._header_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._waiting_bytes = 0
        """Received since anything was complete: a request's headers, a piece of its body, or all of it."""
        self._head_bytes = 0
        """Of the request line and the headers that were read so far."""
        self._in_body = False
        self._progressed = False
        self._discarding = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse one connection too many; give all others a time limit for their first headers."""
        super().connection_made(transport)
        # so that `pause_writing` says that something waits to be written, however little
        transport.set_write_buffer_limits(high=0)
        if len(self.connections) > self.max_connections:
            self._answer_and_close(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections", _BUSY_RETRY_SECONDS)
            return
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._cancel_header_timer()
        self._cancel_write_timer()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Give the peer a time limit to take what waits to be written; also where the connection is being closed."""
        super().pause_writing()
        self._cancel_write_timer()
        self._write_timer = self.loop.call_later(self.write_timeout_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: all was taken."""
        self._cancel_write_timer()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Count bytes that complete nothing: headers, but also trailers and what a chunk may carry beside its size.

        A body is the application's to bound.
        """
        if self._discarding or self.transport.is_closing():
            return
        self._progressed = False
        super().data_received(data)
        if self._discarding or self.transport.is_closing():
            return
        self._waiting_bytes = 0 if self._progressed else self._waiting_bytes + len(data)
        if self._waiting_bytes > MAX_HEADER_BYTES:
            self._refuse_headers()
        elif not self._in_body and self._header_timer is None:
            self._await_headers()

    def on_message_begin(self) -> None:
        """Count each request's own headers."""
        self._head_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Count what the path takes, also where all of the headers come at once."""
        self._head_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count what a header takes."""
        self._head_bytes += len(name) + len(value) + 4
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the request to the application, unless its headers are too large."""
        if self._head_bytes > MAX_HEADER_BYTES or self._discarding:
            self._refuse_headers()
            return
        super().on_headers_complete()
        self._in_body = self._progressed = True
        self._cancel_header_timer()

    def on_body(self, body: bytes) -> None:
        """Give the application a piece of its body."""
        self._progressed = True
        if not self._discarding:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Expect the next request's headers; how long the line may stay silent is uvicorn's keep-alive timeout."""
        if self._discarding:
            return
        super().on_message_complete()
        self._in_body = False
        self._progressed = True
        self._cancel_header_timer()

    def on_response_complete(self) -> None:
        """Give what is still to come of an answered request's body as long as headers get: nobody else bounds it any more."""
        super().on_response_complete()
        if self._in_body and self._header_timer is None and not self.transport.is_closing():
            self._await_headers()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP in the application's form instead of plain text."""
        self._answer_and_close(HTTPStatus.BAD_REQUEST, msg)

    @abstractmethod
    def error_body(self, status: HTTPStatus, message: str, retry_after_seconds: int | None) -> bytes:
        """Give the JSON body of an error, in the application's form."""

    def _await_headers(self) -> None:
        self._header_timer = self.loop.call_later(self.header_timeout_seconds, self._header_timeout)

    def _header_timeout(self) -> None:
        self._header_timer = None
        if self.cycle is not None and not self.cycle.response_complete:
            # the stray bytes came while an earlier request was being answered
            self._await_headers()
        else:
            self.transport.close()

    def _cancel_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _cancel_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _refuse_headers(self) -> None:
        if self._discarding:
            return
        if self._in_body and self.cycle.response_started:  # the request has its answer: a second one would be nobody's
            self.transport.close()
            return
        self._answer_and_close(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the headers are too large")

    def _answer_and_close(self, status: HTTPStatus, message: str, retry_after_seconds: int | None = None) -> None:
        body = self.error_body(status, message, retry_after_seconds)
        retry = "" if retry_after_seconds is None else f"retry-after: {retry_after_seconds}\r\n"
        head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n{retry}\r\n"
        self.transport.write(head.encode() + body)
        if self.pipeline:
            self.transport.close()
            return
        if self.cycle is not None and not self.cycle.response_complete:
            # to the application the sender is gone: it must not answer as well
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        # closing with unread bytes would reset the connection, and the sender would never see the answer
        self._discarding = True
        self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)


class AsgiServer:
    """Serves an application from `start` to `stop`."""

    def __init__(self, endpoint: Endpoint, app: Application, name: str, http_protocol: type[BoundedHttpProtocol]) -> None:
        """Keep the parts; nothing starts."""
        self._endpoint = endpoint
        self._app = app
        self._name = name
        self._http_protocol = http_protocol
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self.address = ""
        """HOST:PORT really bound, once started."""

    def start(self) -> None:
        """Bind and serve.

        Raises:
            PortTakenError: the address cannot be bound.
        """
        listener = self._endpoint.bind()
        self.address = self._endpoint.at(listener.getsockname()[1])
        config = uvicorn.Config(
            self._app,
            http=self._http_protocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=IDLE_TIMEOUT_SECONDS,
        )
        server = _Server(config)
        self._server = server
        self._thread = threading.Thread(target=_serve, args=(server, listener), name=f"{self._name}-loop", daemon=True)
        self._thread.start()
        if not server.ready.wait(_START_SECONDS):
            raise self._endpoint.taken("the HTTP server did not start")

    def call_soon(self, callback: Callable[[], object]) -> None:
        """Run something on the server's loop, if it runs."""
        if self._server is not None and self._server.loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._server.loop.call_soon_threadsafe(callback)

    @property
    def alive(self) -> bool:
        """Whether the loop runs."""
        return self._thread is not None and self._thread.is_alive()

    def stop(self, grace_seconds: float) -> None:
        """Take no more requests, wait so long for answers under way, then close; afterwards the port is free."""
        if self._server is not None and self._thread is not None:
            self._server.config.timeout_graceful_shutdown = max(1, round(grace_seconds))
            self._server.should_exit = True
            self._thread.join()
            self._server = None


class _Server(uvicorn.Server):
    """Says when it listens, and on which loop."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self.loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets=sockets)
        self.ready.set()


def _serve(server: _Server, listener: socket.socket) -> None:
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    with listener:
        asyncio.run(server.serve(sockets=[listener]))
