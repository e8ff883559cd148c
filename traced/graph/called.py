"""What a call is called: its span's name, and where that is only HTTP's verb, the shape of the route or path beside it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traced.graph.columns import Codes, Ints, Mask
from traced.graph.forest import Forest

VERB: Final = re.compile(r"^(HTTP )?(GET|PUT|POST|PATCH|DELETE|HEAD|OPTIONS|TRACE|CONNECT)?$", re.IGNORECASE)
"""A name by which no operation is told from another."""
_RPC: Final = re.compile(r"^/?(?:[\w-]+\.)*(?P<service>[A-Za-z][\w-]*)/[A-Za-z]\w*$")
"""How gRPC names a method: /package.Service/Method, as a span's name mostly without the first slash."""
_SEGMENTS: Final = 4
_PLAIN: Final = re.compile(r"^[A-Za-z_.-]{1,40}$")
"""A segment that is the same in many paths: without digits, and not long."""


def path_of(path: str, full: str) -> str:
    """Give the path of a URL without its query; '' where the span does not say.

    Args:
        path: the path, where the span has it apart.
        full: SCHEME://HOST/PATH?QUERY#FRAGMENT; some write the path alone.
    """
    if not path:
        rest = full.partition("://")[2] or full
        path = rest[rest.find("/") :] if "/" in rest else ""
    return path.split("?", 1)[0].split("#", 1)[0]


@lru_cache(10_000)
def shape_of(path: str) -> str:
    """Give a path with a `{}` in place of what differs from call to call."""
    segments = path.strip("/").split("/")[:_SEGMENTS]
    return "/" + "/".join(segment if _PLAIN.match(segment) else "{}" for segment in segments)


def callee_name(peer: str, name: str) -> str:
    """Give whom a call names: its peer, else the service of the RPC that its span is named after, in lower case; '' for nobody."""
    if peer:
        return peer
    method = _RPC.match(name)
    return method["service"].lower() if method and "." in name else ""


def called(forest: Forest, rows: Ints) -> Codes:
    """Give the names of some calls."""
    name = forest.codes["name"].at(rows)
    return _told_apart(forest, rows, name, np.flatnonzero(_verbs(name)))


def operation_names(forest: Forest) -> Codes:
    """Give the names of all spans' operations: of those that serve a request, what it is called, of the others the span's name."""
    name = forest.codes["name"]
    return _told_apart(forest, np.arange(forest.count), name, np.flatnonzero(_verbs(name) & forest.receiving))


def _verbs(name: Codes) -> Mask:
    marks: Mask = np.array([bool(VERB.match(text)) for text in name.texts] or [False])[name.of]
    return marks


def _told_apart(forest: Forest, rows: Ints, name: Codes, bare: Ints) -> Codes:
    """Add to the names of some of these rows the shape of their route, else of their path."""
    if not len(bare):
        return name
    route, path, full = (forest.spans.column(column).take(pa.array(rows[bare])) for column in ("http_route", "url_path", "url_full"))
    url = pc.coalesce(route, path, full, pa.scalar("")).combine_chunks().dictionary_encode()
    shapes = [shape_of(path_of("", text)) if text else "" for text in url.dictionary.to_pylist()]
    codes = np.asarray(url.indices).astype(np.int64)
    texts = dict.fromkeys(name.texts)
    numbers = {text: number for number, text in enumerate(texts)}
    of = name.of.copy()
    pairs, place = np.unique(name.of[bare] * len(shapes) + codes, return_inverse=True)
    named = [f"{name.texts[pair // len(shapes)]} {shapes[pair % len(shapes)]}".rstrip() for pair in pairs.tolist()]
    of[bare] = np.array([numbers.setdefault(text, len(numbers)) for text in named], np.int64)[place]
    return Codes(of, list(numbers))
