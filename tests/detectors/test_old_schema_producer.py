"""A service published the old schema of a migration after that was to stop, or never the new one."""

from __future__ import annotations

from collections.abc import Sequence

from cases import Expected, Fires, Silent, check_fires, check_silent, fires, stays_silent

from traced.model.occurrence import Level

DETECTOR = "old_schema_producer"

AFTER = "shop PRODUCER p msg=kafka dest=moved.old +10s"
SENT = {"p": {"service": "shop", "cause": "after_cutoff", "level": Level.VIOLATION, "migration": "moved"}}

FIRES: Fires = {
    "after the cutoff": ([AFTER], SENT),
    "after the cutoff, and taken": ([AFTER, "bill CONSUMER c<p msg=kafka dest=moved.old"], SENT),
    "the sending failed": ([f"{AFTER} err"], SENT),
    "a service that never sends the new": (
        ["stuck PRODUCER p msg=kafka dest=moving.old"],
        {"p": {"service": "stuck", "cause": "never_new", "level": Level.IMPROVEMENT, "migration": "moving"}},
    ),
}

STAYS_SILENT: Silent = {
    "before the cutoff": ["shop PRODUCER p msg=kafka dest=moved.old +1s"],
    "the new after the cutoff": ["shop PRODUCER p msg=kafka dest=moved.new +10s"],
    "no cutoff, and a service of which more is not known": ["shop PRODUCER p msg=kafka dest=moving.old"],
    "a consumer after the cutoff": ["bill CONSUMER c msg=kafka dest=moved.old +10s"],
    "into the dead letters": ["shop PRODUCER p msg=kafka dest=moved.old.dlq +10s"],
    "who never sent the new sends it now": ["stuck PRODUCER p msg=kafka dest=moving.new"],
}


@fires(FIRES)
def test_fires(lines: Sequence[str], expected: Expected) -> None:
    check_fires(DETECTOR, lines, expected)


@stays_silent(STAYS_SILENT)
def test_stays_silent(lines: Sequence[str]) -> None:
    check_silent(DETECTOR, lines)
