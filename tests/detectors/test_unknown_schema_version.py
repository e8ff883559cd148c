"""Nobody knows of which version of its schema a message on the channel of a migration is."""

from __future__ import annotations

from collections.abc import Sequence

from cases import Expected, Fires, Silent, check_fires, check_silent, fires, stays_silent

from traced.model.occurrence import Level

DETECTOR = "unknown_schema_version"

KNOWN = "shop PRODUCER p msg=kafka dest=moving message.schema.version=2"
NONE = {"service": "bill", "cause": "no_version", "level": Level.IMPROVEMENT, "migration": "moving-on"}

FIRES: Fires = {
    "a consumer without a version, and nobody who sent it": (["bill CONSUMER c msg=kafka dest=moving"], {"c": NONE}),
    "a producer without one, and so its consumer": (
        ["shop PRODUCER p msg=kafka dest=moving", "bill CONSUMER c<p msg=kafka dest=moving"],
        {"p": {"service": "shop", "role": "producer"}, "c": NONE},
    ),
    "another spelling": (
        [KNOWN, "bill CONSUMER c<p msg=kafka dest=moving message.schema.version=v2"],
        {"c": {"cause": "other_version", "message_schema_version": "v2"}},
    ),
    "two sources that disagree": (
        [KNOWN, "bill CONSUMER c<p msg=kafka dest=moving message.schema.version=1 messaging.header.schema-version=2"],
        {"c": NONE},
    ),
    "a listed consumer that names no destination": (["bill CONSUMER c msg=kafka op=process"], {"c": {"migration": "moving", "cause": "no_version"}}),
    "it has a version of its own that is neither": (["bill CONSUMER c msg=kafka dest=both message.schema.version=9"], {"c": {"migration": "both"}}),
}

STAYS_SILENT: Silent = {
    "the version is known": [KNOWN, "bill CONSUMER c<p msg=kafka dest=moving message.schema.version=2"],
    "it is inherited from the producer": [KNOWN, "bill CONSUMER c<p msg=kafka dest=moving"],
    "the destination says it": ["shop PRODUCER p msg=kafka dest=moving.old", "bill CONSUMER c<p msg=kafka dest=moving.old"],
    "a tombstone": ["shop PRODUCER p msg=kafka dest=moving messaging.kafka.message.tombstone=true"],
    "another subject": ["shop PRODUCER p msg=kafka dest=moving message.schema.version=cart.7"],
    "a message that holds both, of who sends it": ["shop PRODUCER p msg=kafka dest=both"],
    "a destination that does not migrate": ["bill CONSUMER c msg=kafka dest=other"],
    "nobody on the list names no destination": ["web CONSUMER c msg=kafka op=process"],
}


@fires(FIRES)
def test_fires(lines: Sequence[str], expected: Expected) -> None:
    check_fires(DETECTOR, lines, expected)


@stays_silent(STAYS_SILENT)
def test_stays_silent(lines: Sequence[str]) -> None:
    check_silent(DETECTOR, lines)
