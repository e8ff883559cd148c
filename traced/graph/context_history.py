"""Of pairs of services with broken calls: where contexts arrive otherwise, what tells the broken calls apart, and whether a proxy lies between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

import pyarrow as pa

from traced.graph.operations import Operations
from traced.graph.separation import Separations
from traced.graph.service_keys import name_of

_COUNTS: Final = ("broken", "arrived", "injected_elsewhere", "extracted_from_others")
_OF_SEPARATED: Final = ("separated_broken", "separated_intact", "others_broken", "others_intact")
CONTEXTS: Final = pa.schema(
    [
        ("client", pa.string()),
        ("server", pa.string()),
        *((name, pa.int64()) for name in _COUNTS),
        *((name, pa.string()) for name in ("separated_side", "separated_name", "separated_value")),
        *((name, pa.int64()) for name in _OF_SEPARATED),
    ],
)
"""One row a pair of services, by their keys: how many calls between them lost their context, and where contexts arrive: between them, those of the client
elsewhere, those of others at the server. `separated_*`: the property whose value nearly all broken calls have, and the calls with that value; null
where there is none."""


def context_history(operations: Operations, separations: Separations) -> pa.Table:
    """Give what is known of each pair of services with a broken call (CONTEXTS)."""
    broken = operations.rejoined()
    arrived = operations.contexts() if broken else Counter[tuple[str, str]]()
    injected, extracted = Counter[str](), Counter[str]()
    for (client, server), number in arrived.items():
        injected[client] += number
        extracted[server] += number
    rows = []
    for (client, server), number in broken.items():
        here = arrived[client, server]
        separated = separations.of((name_of(client), name_of(server))) if here else None
        rows.append((client, server, number, here, injected[client] - here, extracted[server] - here, *(separated or (None,) * 7)))
    return pa.Table.from_pylist([dict(zip(CONTEXTS.names, row, strict=True)) for row in rows], schema=CONTEXTS)


def with_proxies(matches: pa.Table, reached: Callable[[str], frozenset[str]]) -> pa.Table:
    """Add to matched halves `through`: the address that the caller called, where it is a proxy's: others than the receiver's service answer there too."""
    pairs = list(zip(matches.column("caller_peer_name").to_pylist(), matches.column("service_name").to_pylist(), strict=True))
    proxied = {(address, service): bool(address) and bool(reached(address) - {service, ""}) for address, service in set(pairs)}
    return matches.append_column("through", pa.array([pair[0] if proxied[pair] else "" for pair in pairs], pa.string()))
