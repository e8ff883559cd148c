"""Complete sets that real systems produced, where they lie beside the checkout."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from .otlp_lines import read
from .traces import TraceSet

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "otlp"
MAX_TRACES = 200
"""Read of each: enough for every threshold, and an analysis of it takes about two seconds."""
NAMES = ("dsb_hotel", "dsb_media", "dsb_social", "node_chain", "hotrod", "trainticket_zipkin_v1")


def available() -> tuple[str, ...]:
    """Name the sets that are here."""
    return tuple(name for name in NAMES if _path(name).is_file())


@cache
def real_set(name: str) -> TraceSet:
    """Read one."""
    return read(_path(name), name, MAX_TRACES)


def _path(name: str) -> Path:
    return FOLDER / f"{name}.traces.jsonl.gz"
