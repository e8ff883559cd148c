"""A service that publishes both schemas sent one without the other."""

from __future__ import annotations

from collections.abc import Sequence

from cases import Expected, Fires, Silent, check_fires, check_silent, fires, stays_silent
from spans import many

DETECTOR = "single_publish"

ROOT = "shop SERVER r"
OLD, NEW = ("shop PRODUCER o<r msg=kafka dest=moving.old", "shop PRODUCER n<r msg=kafka dest=moving.new")
BOTH = many(6, ROOT, OLD, NEW)
OLD_1, NEW_2 = (f"shop PRODUCER {span}<r msg=kafka dest=moving message.schema.version={version}" for span, version in (("o", "1"), ("n", "2")))

FIRES: Fires = {
    "the old without the new": (
        [*BOTH, ROOT, OLD],
        {"o": {"service": "shop", "cause": "new_missing", "migration": "moving", "sent": "old", "together": 6, "alone": 1}},
    ),
    "the new without the old": ([*BOTH, ROOT, NEW], {"n": {"cause": "old_missing"}}),
    "two versions on one destination": ([*many(6, ROOT, OLD_1, NEW_2), ROOT, OLD_1], {"o": {"migration": "moving-on", "cause": "new_missing"}}),
    "several in one trace": ([*BOTH, ROOT, OLD, "shop PRODUCER o2<r msg=kafka dest=moving.old"], {"o": {}, "o2": {}}),
    "two traces, and enough that are whole": ([*BOTH, ROOT, OLD, "shop SERVER u:r", "shop PRODUCER u:n<r msg=kafka dest=moving.new"], {"o": {}, "u:n": {}}),
}

STAYS_SILENT: Silent = {
    "both of each": BOTH,
    "few traces say nothing": [*many(4, ROOT, OLD, NEW), ROOT, OLD],
    "each goes out in a trace of its own, as through an outbox": many(20, ROOT, OLD),
    "nearly as many alone as together": [*BOTH, *(line.replace(":", "x:", 1) for line in many(3, ROOT, OLD))],
    "the other failed": [*BOTH, ROOT, f"{OLD} err"],
    "the trace lacks a span": [*BOTH, ROOT, OLD, "shop INTERNAL i<gone"],
    "the other's version is not known": [*many(6, ROOT, OLD_1, NEW_2), ROOT, OLD_1, "shop PRODUCER n<r msg=kafka dest=moving"],
    "one message holds both": many(6, ROOT, "shop PRODUCER o<r msg=kafka dest=both message.schema.version=1"),
    "another service": [*BOTH, "cart SERVER r", "cart PRODUCER o<r msg=kafka dest=moving.old"],
    "a tombstone": [*many(6, ROOT, OLD_1, NEW_2), ROOT, f"{OLD_1} messaging.kafka.message.tombstone=true"],
}


@fires(FIRES)
def test_fires(lines: Sequence[str], expected: Expected) -> None:
    check_fires(DETECTOR, lines, expected)


@stays_silent(STAYS_SILENT)
def test_stays_silent(lines: Sequence[str]) -> None:
    check_silent(DETECTOR, lines)
