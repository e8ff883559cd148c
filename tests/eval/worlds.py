"""All worlds by name; `shop@20` is the shop with a mean of 20 requests under way on each edge."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from types import MappingProxyType

from .blueprint import Blueprint
from .real_sets import NAMES, real_set
from .simulation import play
from .traces import TraceSet
from .worlds_gaps import waiting
from .worlds_large import entry, fifty
from .worlds_messages import fanout_link, fanout_parent, scheduled
from .worlds_rpc import forwarder, gateway, mesh, numbered, old, retries, shop, streaming

BLUEPRINTS: Mapping[str, Callable[[], Blueprint]] = MappingProxyType(
    {
        make.__name__: make
        for make in (shop, fanout_parent, fanout_link, streaming, retries, gateway, forwarder, mesh, fifty, old, entry, scheduled, waiting, numbered)
    }
)
WORLDS = (*BLUEPRINTS, "shop@0.2", "shop@20", "fifty@20")


@lru_cache(maxsize=32)
def world(name: str, seed: int, traces: int | None = None) -> TraceSet:
    """Give a world's clean traces: generated from the seed (so many requests, or as many as the world says), or read."""
    if name in NAMES:
        return real_set(name)
    kind, _, load = name.partition("@")
    blueprint = replace(BLUEPRINTS[kind](), name=name)
    blueprint = replace(blueprint, load=float(load)) if load else blueprint
    blueprint = replace(blueprint, traces=traces) if traces else blueprint
    return play(blueprint, f"{seed} {name}")
