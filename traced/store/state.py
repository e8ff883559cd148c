"""Small JSON values of other rooms that outlive a restart: the last whole one wins."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Final

from traced.store.segment import sync_directory

_PIECE: Final = 1_000
"""Elements of a long list that are made to text at once: about a millisecond."""


class StateFiles:
    """One compressed file a name."""

    def __init__(self, directory: Path, *, durable: bool) -> None:
        """Keep them in a directory; `durable`: through a power cut."""
        self._directory = directory
        self._durable = durable

    def save(self, name: str, state: Any) -> None:
        """Replace a state.

        Raises:
            OSError: the disk is full or failing; the one before is still there.
        """
        path = self._path(name)
        temporary = path.with_suffix(".tmp")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as packed:
                for piece in _pieces(state):
                    packed.write(piece.encode())
            file.flush()
            if self._durable:
                os.fsync(file.fileno())
        temporary.rename(path)
        if self._durable:
            sync_directory(self._directory)

    def load(self, name: str) -> Any | None:
        """Give a state, or None: also where the file is damaged, since what it holds can be rebuilt."""
        try:
            return json.loads(gzip.decompress(self._path(name).read_bytes()))
        except (OSError, ValueError, EOFError, zlib.error):
            return None

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.json.gz"


def _pieces(value: Any) -> Iterator[str]:
    """Give a value's JSON piece by piece: no other thread runs while one piece is made."""
    if isinstance(value, dict) and value:
        for before, (key, inner) in zip(chain("{", repeat(",")), value.items(), strict=False):
            yield f"{before}{json.dumps(str(key))}:"
            yield from _pieces(inner)
        yield "}"
    elif isinstance(value, list) and len(value) > _PIECE:
        for start in range(0, len(value), _PIECE):
            yield ("," if start else "[") + json.dumps(value[start : start + _PIECE])[1:-1]
        yield "]"
    else:
        yield json.dumps(value)
