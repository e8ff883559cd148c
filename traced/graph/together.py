"""Which services that report nothing were called in the traces of orphans whose caller reports nothing.

An orphan knows only that what called it is silent, and a silent service only who calls it; what they have in common is the trace.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from traced.graph.causes import UPSTREAM_SILENT
from traced.model.occurrence import Occurrence

SILENT: Final = "silent_service"
MIN_TRACES: Final = 3
MIN_SHARE: Final = 0.5
"""More than this share of a finding's traces must hold a call to the service: the finding goes mostly when that is mended."""
MAX_SERVICES: Final = 4

Together = Mapping[str, tuple[str, ...]]
"""Fingerprint of a finding whose caller is silent, to services that report nothing, those in most of its traces first."""


def silent_callees(traces: Iterable[Iterable[Occurrence]]) -> Together:
    """Give the silent services beside each finding whose caller is silent.

    Args:
        traces: the open occurrences of each trace.
    """
    traces_of: Counter[str] = Counter()
    shared: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for occurrences in traces:
        orphaned = {o.fingerprint for o in occurrences if o.cause == UPSTREAM_SILENT}
        if orphaned:
            traces_of.update(orphaned)
            silent = {o.service for o in occurrences if o.id == SILENT}
            for fingerprint in orphaned:
                shared[fingerprint].update(silent)
    return {
        fingerprint: tuple(service for service, share in mostly if share > MIN_SHARE * traces_of[fingerprint])
        for fingerprint, services in shared.items()
        if traces_of[fingerprint] >= MIN_TRACES
        for mostly in [sorted(services.items(), key=lambda one: (-one[1], one[0]))[:MAX_SERVICES]]
    }
