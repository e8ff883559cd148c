"""A span's identity as one 64-bit key, the same on every start: trace id, span id, kind and service."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from traced.model.batch import Batch
from traced.store.recent_keys import Keys, mix


def span_keys(batch: Batch) -> Keys:
    """Give each span's 64-bit identity: trace id, span id, kind and service, so that halves of a shared id stay apart."""
    column = batch.items.column
    services = np.array(
        [service_key(r["service_namespace"], r["service_name"]) for r in batch.resources.select(["service_namespace", "service_name"]).to_pylist()] or [0],
        np.uint64,
    )
    return identity_keys(
        np.asarray(column("trace_id_high")),
        np.asarray(column("trace_id_low")),
        np.asarray(column("span_id")),
        np.asarray(column("kind")),
        services[np.asarray(column("resource_id"))] if batch.items.num_rows else services[:0],
    )


def identity_keys(high: Keys, low: Keys, span_id: Keys, kind: npt.NDArray[np.uint8], service: Keys) -> Keys:
    """Mix the parts of a span's identity; `service` comes from `service_key`."""
    return mix(high, low, span_id, kind.astype(np.uint64), service)


def service_key(namespace: str | None, name: str | None) -> int:
    """Hash a service's name to 64 bits, the same on every start."""
    text = f"{namespace or ''}\x1f{name or ''}"
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")
