"""Addresses and the one way an ASGI application is served: on a socket bound beforehand, in a thread of its own."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, Final

import uvicorn

from traced.errors import ConfigurationError, PortTakenError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

IDLE_TIMEOUT_SECONDS: Final = 60
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


class AsgiServer:
    """Serves an application from `start` to `stop`."""

    def __init__(self, endpoint: Endpoint, app: Application, name: str, http_protocol: type[asyncio.Protocol] | str = "httptools") -> None:
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
