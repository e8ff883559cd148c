"""Bounded decompression: output is counted as it comes and never exceeds the limit by more than one piece."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Final

from traced.errors import InvalidRequestError
from traced.receiver.refusals import too_large

_GZIP_BITS: Final = 31
WINDOW_BITS: Final = {"gzip": _GZIP_BITS, "x-gzip": _GZIP_BITS, "deflate": 15}
"""Content codings to zlib's window bits; the deflate of HTTP and of gRPC is the zlib format."""
IDENTITY: Final = "identity"
DEFLATE: Final = "deflate"

_GZIP_MAGIC: Final = b"\x1f\x8b"
_DEFLATE_METHOD: Final = 8
_FEED: Final = 64 * 1024
_PIECE: Final = 256 * 1024
_MAX_MEMBERS: Final = 1024
"""gzip members in one body: each is 20 bytes at least and costs a new decompressor."""
_SUSPECT_BYTES: Final = 2 * 2**20
_SUSPECT_RATIO: Final = 16
"""Telemetry compresses 5 to 20 times. What exceeds both is measured to its end before more of it is kept."""


def coding_of(body: bytes) -> str:
    """Tell from its first bytes how a protobuf message is compressed.

    gzip for certain: no message begins with a field of wire type 7. What could be deflate could also be a message that begins with a number
    that OTLP does not know; whoever inflates it sees which it is.
    """
    if body[:2] == _GZIP_MAGIC:
        return "gzip"
    is_deflate = len(body) >= 2 and body[0] & 0x0F == _DEFLATE_METHOD and int.from_bytes(body[:2], "big") % 31 == 0
    return DEFLATE if is_deflate else IDENTITY


def announced_size(body: bytes, coding: str) -> int:
    """Give how large a body says that it is after decompression, in bytes; at least as large as it is now.

    gzip ends with the size of its last member, and deflate with nothing of the kind: a hint, which a hostile body does not give.
    """
    return max(len(body), int.from_bytes(body[-4:], "little") if WINDOW_BITS.get(coding) == _GZIP_BITS else 0)


def inflate(body: bytes, coding: str, limit: int, hold: Callable[[int], None]) -> bytes:
    """Decompress a whole body.

    Args:
        body: as received.
        coding: a key of WINDOW_BITS.
        limit: bytes allowed after decompression.
        hold: called with the size of each piece that is kept; may raise to refuse.

    Raises:
        InvalidRequestError: it is no such data, or it ends early.
        RefusedError: it is over the limit.
    """
    pieces: list[bytes] = []
    total = 0
    measured = False
    for piece in _pieces(body, coding):
        total += len(piece)
        if total > limit:
            raise _over(limit)
        if not measured and total > _SUSPECT_BYTES and total > _SUSPECT_RATIO * len(body):
            _measure(body, coding, limit)
            measured = True
        hold(len(piece))
        pieces.append(piece)
    return b"".join(pieces)


def _measure(body: bytes, coding: str, limit: int) -> None:
    total = 0
    for piece in _pieces(body, coding):
        total += len(piece)
        if total > limit:
            raise _over(limit)


def _over(limit: int) -> Exception:
    return too_large(f"the request is larger than {limit} bytes after decompression")


def _pieces(body: bytes, coding: str) -> Iterator[bytes]:
    """Yield the decompressed body in pieces of at most 256 KiB, member after member."""
    inflater = zlib.decompressobj(WINDOW_BITS[coding])
    members = 1
    try:
        for start in range(0, len(body), _FEED):
            waiting = body[start : start + _FEED]
            while waiting:
                if inflater.eof:
                    waiting = waiting.lstrip(b"\0")
                    if not waiting:
                        break
                    members += 1
                    if members > _MAX_MEMBERS:
                        raise InvalidRequestError(f"the body has more than {_MAX_MEMBERS} {coding} members")
                    inflater = zlib.decompressobj(WINDOW_BITS[coding])
                piece = inflater.decompress(waiting, _PIECE)
                waiting = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
                if piece:
                    yield piece
        # what the window still holds comes without further input
        while not inflater.eof and (piece := inflater.decompress(b"", _PIECE)):
            yield piece
    except zlib.error as error:
        raise InvalidRequestError(f"the body is not valid {coding}: {error}") from None
    if not inflater.eof:
        raise InvalidRequestError(f"the body's {coding} data ends early")
