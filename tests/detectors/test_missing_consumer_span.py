"""A message was taken by a service that reports, and its CONSUMER span never came."""

from __future__ import annotations

from collections.abc import Sequence

from cases import Expected, Fires, Silent, check_fires, check_silent, fires, stays_silent
from looking import look
from spans import many

from traced.model.occurrence import Level

DETECTOR = "missing_consumer_span"

SENT = "shop PRODUCER p msg=kafka dest=orders name=send"
TAKEN = [SENT, "mail CONSUMER c<p msg=kafka dest=orders name=take", "mail INTERNAL i<c"]
HABIT = many(30, *TAKEN)
ONE = {"p": {"service": "shop", "peer": "mail", "cause": "callee_loss", "level": Level.VIOLATION, "destination": "orders"}}

FIRES: Fires = {
    "what the consumer did is here, under a parent that is absent": ([*HABIT, SENT, "mail INTERNAL i<gone"], ONE),
    "the flags say that the parent was in the same process": ([*HABIT, SENT, "mail CLIENT i<gone local addr=smtp"], ONE),
    "one of two consumers is missing": (
        [
            *many(30, SENT, "mail CONSUMER c<p msg=kafka dest=orders name=take", "bill CONSUMER d<p msg=kafka dest=orders name=take", "bill INTERNAL j<d"),
            SENT,
            "mail CONSUMER c<p msg=kafka dest=orders name=take",
            "bill INTERNAL j<gone",
        ],
        {"p": {"peer": "bill"}},
    ),
    "several spans of the consumer": ([*HABIT, SENT, "mail INTERNAL i<gone", "mail INTERNAL j<gone"], ONE),
}

STAYS_SILENT: Silent = {
    "every message is taken": HABIT,
    "nothing shows that it was taken: perhaps it waits": [*HABIT, SENT],
    "remains of a service that takes none of these messages": [*HABIT, SENT, "audit INTERNAL i<gone"],
    "remains from before the message was sent": [*HABIT, f"{SENT} +5s", "mail INTERNAL i<gone +1s"],
    "remains in another trace": [*HABIT, SENT, "mail INTERNAL other:i<gone"],
    "the orphan's parent was in another process": [*HABIT, SENT, "mail SERVER i<gone remote"],
    "the consumer was never instrumented": [*many(30, SENT), SENT, "mail INTERNAL i<gone"],
    "a consumer with a link": [
        SENT,
        "mail CONSUMER u:c ->t:p msg=kafka dest=orders",
        "mail INTERNAL u:i<c",
    ],
    "a call, not a message": [*many(30, "web CLIENT b addr=cart", "cart SERVER c<b", "cart INTERNAL i<c"), "web CLIENT b addr=cart", "cart INTERNAL i<gone"],
}


@fires(FIRES)
def test_fires(lines: Sequence[str], expected: Expected) -> None:
    check_fires(DETECTOR, lines, expected)


@stays_silent(STAYS_SILENT)
def test_stays_silent(lines: Sequence[str]) -> None:
    check_silent(DETECTOR, lines)


def test_the_orphans_of_the_lost_consumer_are_losses_of_its_own_process() -> None:
    seen = look([*HABIT, SENT, "mail INTERNAL i<gone"])
    assert {o.cause for o in seen.found("orphan_span").values()} == {"local_loss"}
