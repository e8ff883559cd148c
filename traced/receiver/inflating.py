"""Bounded decompression: output is counted as it comes and never exceeds the limit by more than one piece."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Final

from traced.errors import InvalidRequestError
from traced.receiver.refusals import too_large

WINDOW_BITS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""Content codings to zlib's window bits; HTTP's deflate is the zlib format."""

_FEED: Final = 64 * 1024
_PIECE: Final = 256 * 1024
_MAX_MEMBERS: Final = 1024
"""gzip members in one body: each is 20 bytes at least and costs a new decompressor."""
_SUSPECT_BYTES: Final = 2 * 2**20
_SUSPECT_RATIO: Final = 16
"""Telemetry compresses 5 to 20 times. What exceeds both is measured to its end before more of it is kept."""


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
