"""Whether an address or a name is one of the system's own, or somebody's outside."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from typing import Final

_OWN_DOMAINS: Final = (".svc", ".local", ".internal", ".lan", ".localdomain", ".home.arpa", ".consul")
"""Domains that no public name server knows: Kubernetes, Compose and cloud networks, Consul."""


@lru_cache(10_000)
def outside(address: str) -> bool:
    """Say whether an address is public: an IP address that is routed everywhere, or a name with a public domain.

    A name of one label (Compose, Kubernetes within a namespace) is the system's own. One with several labels that ends in none of the domains that
    only private networks have is taken for public: a Kubernetes name like `cart.shop` cannot be told from one.
    """
    name = address.rstrip(".").lower()
    try:
        return ip_address(name).is_global
    except ValueError:
        return "." in name and not name.endswith(_OWN_DOMAINS) and ".svc." not in f"{name}."


@lru_cache(10_000)
def own_host(address: str) -> bool:
    """Say whether an address is the caller's own host or link: loopback, link-local (as the clouds' metadata services), unspecified."""
    name = address.rstrip(".").lower()
    try:
        ip = ip_address(name)
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
    return ip.is_loopback or ip.is_link_local or ip.is_unspecified
