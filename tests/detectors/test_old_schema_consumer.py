"""A consumer used the old schema of a migration."""

from __future__ import annotations

from collections.abc import Sequence

from cases import Expected, Fires, Silent, check_fires, check_silent, fires, stays_silent

from traced.model.occurrence import Level

DETECTOR = "old_schema_consumer"

SENT = "shop PRODUCER p msg=kafka dest=moving.old name=send"
TAKEN = "bill CONSUMER c<p msg=kafka dest=moving.old name=take"
SENT_1 = "shop PRODUCER p msg=kafka dest=moving name=send message.schema.version=1"
USED = {"c": {"service": "bill", "peer": "shop", "cause": "", "level": Level.IMPROVEMENT, "migration": "moving"}}

FIRES: Fires = {
    "it takes from the old destination": ([SENT, TAKEN], USED),
    "it failed, and used it all the same": ([SENT, f"{TAKEN} err"], USED),
    "nobody is known to have sent it": (["bill CONSUMER c msg=kafka dest=moving.old name=take"], {"c": {"peer": ""}}),
    "an unlisted consumer": ([SENT, "ghost CONSUMER c<p msg=kafka dest=moving.old"], {"c": {"service": "ghost"}}),
    "a consumer that had none for a window": (
        [SENT, "calm CONSUMER c<p msg=kafka dest=moving.old"],
        {"c": {"service": "calm", "cause": "returned", "level": Level.VIOLATION}},
    ),
    "it says that it handled the old version": (
        [SENT_1, "bill CONSUMER c<p msg=kafka dest=moving message.schema.version=1 message.schema.disposition=handled"],
        {"c": {"migration": "moving-on", "message_schema_version": "1", "version_key": "message.schema.version"}},
    ),
    "it recorded the old version of a message that holds both": (
        ["shop PRODUCER p msg=kafka dest=both", "bill CONSUMER c<p msg=kafka dest=both message.schema.version=1"],
        {"c": {"migration": "both"}},
    ),
    "its queue is called otherwise, and the producer's topic is the old one": ([SENT, "bill CONSUMER c<p msg=kafka dest=bill-q"], USED),
    "from the dead letters of the old destination": ([SENT, "bill CONSUMER c<p msg=kafka dest=moving.old.dlq"], USED),
}

STAYS_SILENT: Silent = {
    "it takes from the new destination": ["shop PRODUCER p msg=kafka dest=moving.new", "bill CONSUMER c<p msg=kafka dest=moving.new"],
    "the old is only published": [SENT],
    "a relay": [SENT, "mirror CONSUMER c<p msg=kafka dest=moving.old"],
    "excluded test traffic": [SENT, "loadgen CONSUMER c<p msg=kafka dest=moving.old"],
    "it says that it ignored the message": [SENT, f"{TAKEN} message.schema.disposition=ignored"],
    "every subscriber receives both, and nobody says more": [SENT_1, "bill CONSUMER c<p msg=kafka dest=moving message.schema.version=1"],
    "a message that holds both, and the consumer says nothing": [
        "shop PRODUCER p msg=kafka dest=both message.schema.version=1",
        "bill CONSUMER c<p msg=kafka dest=both",
    ],
    "a destination that does not migrate": ["shop PRODUCER p msg=kafka dest=other.v1", "bill CONSUMER c<p msg=kafka dest=other.v1"],
    "its queue is called as the old destination, and the topic behind it is another": [
        "shop PRODUCER p msg=kafka dest=other.v1",
        "bill CONSUMER c<p msg=kafka dest=moved",
    ],
    "a name that only begins alike": ["shop PRODUCER p msg=kafka dest=moving.older", "bill CONSUMER c<p msg=kafka dest=moving.older"],
}


@fires(FIRES)
def test_fires(lines: Sequence[str], expected: Expected) -> None:
    check_fires(DETECTOR, lines, expected)


@stays_silent(STAYS_SILENT)
def test_stays_silent(lines: Sequence[str]) -> None:
    check_silent(DETECTOR, lines)
