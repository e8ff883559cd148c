"""A consumer's span link names a message whose PRODUCER span never came."""

from __future__ import annotations

from collections.abc import Sequence

from cases import Expected, Fires, Silent, check_fires, check_silent, fires, stays_silent
from looking import NOW, Elsewhere, look, new_passes
from spans import EPOCH, span_id, spans

from traced.model.occurrence import Level

DETECTOR = "missing_producer_span"


def linked(number: int, state: str = "") -> list[str]:
    """Give messages in traces a0, a1, …, each taken in a trace of its own."""
    sent = [f"shop PRODUCER a{n}:p msg=kafka dest=orders {state}" for n in range(number)]
    return sent + [f"mail CONSUMER b{n}:c ->a{n}:p msg=kafka dest=orders name=take" for n in range(number)]


TAKEN = "mail CONSUMER t:c ->lost:p msg=kafka dest=orders name=take"
FACTS = {
    "service": "mail",
    "peer": "shop",
    "cause": "upstream_loss",
    "level": Level.VIOLATION,
    "missing_span_id": span_id("p"),
    "links_that_lead_to_a_span": 20,
}
SILENT = {"peer": "", "cause": "upstream_silent", "level": Level.IMPROVEMENT}

FIRES: Fires = {
    "the producer's trace is here, without the producer": ([*linked(20), "shop SERVER lost:a", TAKEN], {"c": FACTS}),
    "two links of one consumer lead nowhere: one occurrence": (
        [*linked(20), "shop SERVER lost:a", TAKEN.replace("->lost:p", "->lost:p ->lost:q")],
        {"c": {"links_that_do_not": 2}},
    ),
    "the producer's service does not sample that trace, by the threshold of its spans": (
        [*linked(20, "state=ot=th:fffffffffffff8"), TAKEN],
        {"c": {"cause": "sampled_out", "level": Level.INFORMATION, "known_by": "threshold"}},
    ),
    "the link's own flags say that its target was not sampled": (
        [*linked(20), "shop SERVER lost:a", TAKEN.replace("->lost:p", "->lost:p[flags=0x2]")],
        {"c": {"cause": "sampled_out", "level": Level.INFORMATION, "known_by": "link_flags"}},
    ),
    "a low byte of zero in a link's flags proves nothing": (
        [*linked(20), "shop SERVER lost:a", TAKEN.replace("->lost:p", "->lost:p[flags=0x100]")],
        {"c": FACTS},
    ),
    "a fifth of the links, of a producer that loses spans": (
        [
            *linked(40),
            *(f"shop SERVER x{n}:s" for n in range(10)),
            *(f"mail CONSUMER y{n}:c ->x{n}:gone{n} msg=kafka dest=orders name=take" for n in range(10)),
        ],
        {f"y{n}:c": {"cause": "upstream_loss", "links_that_do_not": 10} for n in range(10)},
    ),
    "nine consumers, and no PRODUCER span to that destination ever": (
        [f"mail CONSUMER b{n}:c ->x{n}:p msg=kafka dest=orders name=take" for n in range(9)],
        {f"b{n}:c": SILENT for n in range(9)},
    ),
}

STAYS_SILENT: Silent = {
    "every link leads to a span": linked(20),
    "nothing of the producer's trace is here: a replayed message, or one kept longer than spans": [*linked(20), TAKEN],
    "eight consumers are too few to call their producer silent": [f"mail CONSUMER b{n}:c ->x{n}:p msg=kafka dest=orders" for n in range(8)],
    "no link ever leads anywhere, though producers report: ids of another form": [
        *[f"shop PRODUCER a{n}:p msg=kafka dest=orders" for n in range(20)],
        *[f"mail CONSUMER b{n}:c ->x{n}:p msg=kafka dest=orders" for n in range(20)],
    ],
    "one link of 60 leads to a span, the others to a segment that the broker made up, in traces that are here": [
        "shop PRODUCER a0:p msg=AmazonSQS dest=orders",
        "mail CONSUMER b0:c ->a0:p msg=AmazonSQS dest=orders name=take",
        *(f"shop SERVER a{n}:s" for n in range(1, 60)),
        *(f"mail CONSUMER b{n}:c ->a{n}:segment{n} msg=AmazonSQS dest=orders name=take" for n in range(1, 60)),
    ],
    "half of 30 links lead to spans: what the others are is not known": [
        *linked(15),
        *(f"shop SERVER x{n}:s" for n in range(15)),
        *(f"mail CONSUMER y{n}:c ->x{n}:gone{n} msg=kafka dest=orders name=take" for n in range(15)),
    ],
    "four links that lead to spans are too few to know": [*linked(4), "shop SERVER lost:a", TAKEN],
    "in a namespace of which no link ever leads to a span, though in another all do": [
        *(f"prod/{line}" for line in linked(40)),
        *(f"staging/shop SERVER x{n}:s" for n in range(5)),
        *(f"staging/mail CONSUMER y{n}:c ->x{n}:gone{n} msg=kafka dest=orders name=take" for n in range(5)),
    ],
    "a link of zeros": [*linked(20), "mail CONSUMER t:c ->00000000000000000000000000000000:0000000000000000 msg=kafka dest=orders name=take"],
    "a client that receives in a batch": [*linked(20), "shop SERVER lost:a", TAKEN.replace("CONSUMER", "CLIENT").replace("name=take", "op=receive")],
    "a SERVER with a link": [*linked(20), "shop SERVER lost:a", "mail SERVER t:c ->lost:p name=take"],
    "a consumer whose parent is the producer": ["shop PRODUCER p msg=kafka dest=orders", "mail CONSUMER c<p msg=kafka dest=orders"],
    "no link at all": [*linked(20), "mail CONSUMER t:c msg=kafka dest=orders name=take"],
}


@fires(FIRES)
def test_fires(lines: Sequence[str], expected: Expected) -> None:
    check_fires(DETECTOR, lines, expected)


@stays_silent(STAYS_SILENT)
def test_stays_silent(lines: Sequence[str]) -> None:
    check_silent(DETECTOR, lines)


def test_a_producer_that_is_in_the_store_is_not_missing() -> None:
    assert look([*linked(20), "shop SERVER lost:a", TAKEN], Elsewhere("shop PRODUCER lost:p msg=kafka dest=orders")).found(DETECTOR) == {}


def test_a_link_waits_until_its_producers_trace_could_settle_and_a_late_producer_withdraws_the_claim() -> None:
    passes = new_passes(hold_nanos=30 * 10**9)
    passes.run(spans(*linked(20), "shop SERVER lost:a").settled(), NOW, EPOCH)
    passes.run(spans(TAKEN).settled(), NOW + 1, EPOCH + 10**9)
    assert passes.waited(EPOCH + 2 * 10**9).occurrences == []
    [claim] = [o for o in passes.waited(EPOCH + 40 * 10**9).occurrences if o.id == DETECTOR]
    assert passes.waited(EPOCH + 50 * 10**9).occurrences == []
    late = passes.run(spans("shop PRODUCER lost:p msg=kafka dest=orders").settled(), NOW + 60, EPOCH + 60 * 10**9)
    assert claim.key in late.withdrawn
    assert DETECTOR not in {o.id for o in late.occurrences}
