"""What two halves of one call must agree on where both say it: method, path, status, message id."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
import pyarrow as pa

from traced.graph.called import path_of
from traced.graph.columns import Codes, Ints, Mask

_PARAMETER: Final = ("{", ":", "<", "*", "[")
"""What a variable segment of a route template begins with in one framework or another."""


class Gates:
    """Compares pairs of a caller and a receiver (rows of `traced.graph.halves.HALVES`)."""

    def __init__(self, callers: pa.Table, receivers: pa.Table) -> None:
        """Number the texts of both sides together."""
        self._same = [_together(callers, receivers, name) for name in ("http_request_method", "rpc_method", "rpc_service", "messaging_destination")]
        self._status = _together(callers, receivers, "response_status", _http_status)
        self._message = _together(callers, receivers, "messaging_message_id")
        self.request = _together(callers, receivers, "correlation_id")
        """Of both sides, the number of each row's request; 0 where it says none."""
        self._service = _together(callers, receivers, "service_name")
        self._path = _coded([path_of(*parts) for parts in _texts(callers, "url_path", "url_full")])
        self._target = _coded(list(zip(*_texts_apart(receivers, "url_path", "url_full", "http_route"), strict=True)))

    def agree(self, caller: Ints, receiver: Ints, together: Mask) -> Mask:
        """Say of pairs of rows whether nothing contradicts; what one side does not say does not.

        Within one trace, or one request, another path is no contradiction where another service was called: something between may have rewritten it.
        """
        fits = np.ones(len(caller), bool)
        for mine, theirs in (*self._same, self._status, self._message):
            a, b = mine[caller], theirs[receiver]
            fits &= (a == 0) | (b == 0) | (a == b)
        codes, paths = self._path
        kinds, targets = self._target
        pairs, place = np.unique(codes[caller] * len(targets) + kinds[receiver], return_inverse=True)
        verdict = np.array([_paths_agree(paths[p // len(targets)], *targets[p % len(targets)]) for p in pairs.tolist()], bool)
        if len(pairs):
            mine, theirs = self._service
            fits &= verdict[place] | (together & (mine[caller] != theirs[receiver]))
        return fits

    def same_message(self, caller: Ints, receiver: Ints) -> Mask:
        """Say of pairs whether both name the same message, which decides alone."""
        return _same(self._message, caller, receiver)

    def same_request(self, caller: Ints, receiver: Ints) -> Mask:
        """Say of pairs whether both carry the id of the same request."""
        return _same(self.request, caller, receiver)


def _same(sides: tuple[Ints, Ints], caller: Ints, receiver: Ints) -> Mask:
    a, b = sides[0][caller], sides[1][receiver]
    same: Mask = (a == b) & (a != 0)
    return same


def _texts(table: pa.Table, *names: str) -> list[tuple[str, ...]]:
    return list(zip(*_texts_apart(table, *names), strict=True))


def _texts_apart(table: pa.Table, *names: str) -> list[list[str]]:
    return [table.column(name).to_pylist() for name in names]


def _coded(values: list[Any]) -> tuple[Ints, list[Any]]:
    numbers: dict[Any, int] = {}
    of = np.array([numbers.setdefault(value, len(numbers)) for value in values], np.int64)
    return of, list(numbers)


def _together(callers: pa.Table, receivers: pa.Table, name: str, change: Any = str) -> tuple[Ints, Ints]:
    """Number a column of both sides; 0 is an absent value."""
    numbers = {"": 0}
    codes = Codes.from_column(pa.chunked_array([*callers.column(name).chunks, *receivers.column(name).chunks], pa.string()))
    of = np.array([numbers.setdefault(change(text), len(numbers)) for text in codes.texts], np.int64)[codes.of]
    return of[: callers.num_rows], of[callers.num_rows :]


def _http_status(text: str) -> str:
    """Keep HTTP's codes: gRPC's are written as numbers by some and as names by others."""
    return text if len(text) == 3 and text.isdigit() else ""


@lru_cache(100_000)
def _paths_agree(path: str, own_path: str, own_full: str, route: str) -> bool:
    """Compare a caller's path with a receiver's path, else its route template; a gateway may have taken a prefix away or added one."""
    theirs = path_of(own_path, own_full)
    if not path or not (theirs or route):
        return True
    if theirs:
        return theirs.endswith(path) or path.endswith(theirs)
    return _route_agrees(path, route)


def _route_agrees(path: str, route: str) -> bool:
    segments, template = path.strip("/").split("/"), route.strip("/").split("/")
    if template and template[-1].startswith(("*", "**", "{*")):
        template, segments = template[:-1], segments[: len(template) - 1]
    if len(segments) < len(template):
        return False
    tail = segments[len(segments) - len(template) :]
    return all(part == wanted or wanted.startswith(_PARAMETER) for part, wanted in zip(tail, template, strict=True))
