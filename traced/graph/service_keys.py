"""A service as one text: its name, and before it the namespace that it is in. Services of one name in two namespaces are two.

What is learned is kept by these keys; people are shown the name.
"""

from __future__ import annotations

from typing import Final

_BETWEEN: Final = "\x1f"
"""Between namespace and name: no slash, since names may have one. It is left out where there is no namespace, as in most systems."""


def service_key(namespace: str, name: str) -> str:
    """Give a service's key."""
    if not namespace and _BETWEEN not in name:
        return name
    return f"{namespace.replace(_BETWEEN, ' ')}{_BETWEEN}{name}"


def name_of(key: str) -> str:
    """Give the name of a service by its key."""
    return key.partition(_BETWEEN)[2] if _BETWEEN in key else key


def shown(key: str) -> str:
    """Give namespace/name, or the name where there is no namespace."""
    namespace, between, name = key.partition(_BETWEEN)
    return f"{namespace}/{name}" if between and namespace else name or namespace
