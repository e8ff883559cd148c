"""HTTP/1.1 below the application: what uvicorn leaves open to slow, endless and malformed senders."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from traced.receiver.status import RpcCode, Status

HEADER_TIMEOUT_SECONDS: Final = 60.0
"""From connecting, or from the first byte of a further request, to the end of its headers (the Collector's default)."""
MAX_HEADER_BYTES: Final = 64 * 1024
MAX_CONNECTIONS: Final = 1024
"""Open connections; each may cost a file descriptor and up to 64 KiB of body that nobody has read yet."""
_BUSY_RETRY_SECONDS: Final = 5
_LINGER_SECONDS: Final = 1.0


class OtlpHttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with limits for headers and connections, and a `google.rpc.Status` in its own answers too."""

    header_timeout_seconds: float = HEADER_TIMEOUT_SECONDS
    max_connections: int = MAX_CONNECTIONS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Start outside of any request."""
        super().__init__(*args, **kwargs)
        self._header_timer: asyncio.TimerHandle | None = None
        self._header_bytes = 0
        self._in_body = False
        self._heads = 0
        self._discarding = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Refuse one connection too many; give all others a time limit for their first headers."""
        super().connection_made(transport)
        if len(self.connections) > self.max_connections:
            status = Status(RpcCode.UNAVAILABLE, "too many connections", retry_after_seconds=_BUSY_RETRY_SECONDS)
            self._answer_and_close(b"503 Service Unavailable", status, b"retry-after: %d\r\n" % _BUSY_RETRY_SECONDS)
            return
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._cancel_header_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count bytes until the headers are complete; then they are the application's to bound."""
        if self._discarding or self.transport.is_closing():
            return
        heads, was_in_body = self._heads, self._in_body
        super().data_received(data)
        if self._in_body or self._discarding or self.transport.is_closing():
            return
        if heads == self._heads and not was_in_body:
            self._header_bytes += len(data)
        if self._header_bytes > MAX_HEADER_BYTES:
            self._answer_and_close(b"431 Request Header Fields Too Large", Status(RpcCode.INVALID_ARGUMENT, "the headers are too large"))
        elif self._header_timer is None:
            self._await_headers()

    def on_headers_complete(self) -> None:
        """Hand the request to the application."""
        super().on_headers_complete()
        self._in_body = True
        self._heads += 1
        self._header_bytes = 0
        self._cancel_header_timer()

    def on_message_complete(self) -> None:
        """Expect the next request's headers; how long the line may stay silent is uvicorn's keep-alive timeout."""
        super().on_message_complete()
        self._in_body = False

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP with a Status instead of plain text."""
        self._answer_and_close(b"400 Bad Request", Status(RpcCode.INVALID_ARGUMENT, msg))

    def _await_headers(self) -> None:
        self._header_timer = self.loop.call_later(self.header_timeout_seconds, self._header_timeout)

    def _header_timeout(self) -> None:
        self._header_timer = None
        if self.cycle is not None and not self.cycle.response_complete:
            # the stray bytes came while an earlier request was being answered
            self._await_headers()
        elif not self._in_body:
            self.transport.close()

    def _cancel_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _answer_and_close(self, status_line: bytes, status: Status, headers: bytes = b"") -> None:
        body = status.to_json()
        head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n%b\r\n"
        self.transport.write(head % (status_line, len(body), headers) + body)
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()
            return
        # closing with unread bytes would reset the connection, and the sender would never see the answer
        self._discarding = True
        self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)
