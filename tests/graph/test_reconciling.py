"""Orphans held against the loss ledger: what it confirms, what it only mentions, and what it has nothing to say about."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from spans import EPOCH, spans
from test_losses import learned, point

from traced.graph.forest import Forest
from traced.graph.losses import LossLedger
from traced.graph.reconciling import ADMITTED, reconcile
from traced.model.measurement import Quantity, Temporality

SECOND = 1_000_000_000
assert point(1, since=0).start_time_unix_nano == EPOCH, "the ledger's times begin where the spans' do"


def judged(
    ledger: LossLedger, cause: str = "upstream_loss", line: str = "cart SERVER b<x instance=cart-1 +5s", others: tuple[str, ...] = (), **facts: Any
) -> dict[str, Any]:
    """Give what is said of one orphan of cart, called by web, after the ledger was asked, with the loss it refers to."""
    forest = Forest(spans(line, *others).staged())
    row = {
        "row": int(np.flatnonzero(forest.absent)[0]),
        "cause": cause,
        "confidence": 0.85,
        "likely_caller": "web",
        "usual_parent": "",
        "parent_is_remote": cause != "local_loss",
        **facts,
    }
    causes, losses = reconcile(pa.Table.from_pylist([row]), forest, ledger)
    (said,) = causes.to_pylist()
    return {**said, "loss": next((loss for loss in losses.to_pylist() if loss["number"] == said["reported"]), None)}


def web(value: int = 412, quantity: Quantity = Quantity.DROPPED, **changed: Any) -> Any:
    return point(value, quantity, **{"service": "web", "instance": "web-1", **changed})


NOTHING_SAID = {"cause": "upstream_loss", "confidence": 0.85, "reported": None, "counts_awaited": False, "begun": None, "not_sampled": None}


def test_a_caller_that_says_it_lost_spans_then_is_believed() -> None:
    said = judged(learned(web(), web(64, Quantity.QUEUE_CAPACITY, temporality=Temporality.LEVEL, reason="")))
    assert (said["cause"], said["confidence"], said["counts_awaited"]) == ("upstream_loss", 0.95, False)
    loss = said["loss"]
    assert (loss["service"], loss["instance"], loss["quantity"], loss["reason"], loss["spans"]) == ("web", "web-1", "dropped", "queue_full", 412)
    assert (loss["since_unix_nano"], loss["until_unix_nano"], loss["queue_capacity"]) == (EPOCH, EPOCH + 10 * SECOND, 64)


def test_of_several_losses_then_the_largest_is_named() -> None:
    ledger = learned(web(3, reason="already_shutdown", series="t"), web(9), web(5000, since=600, at=700, instance="web-2", series="u"), point(7000, series="v"))
    assert judged(ledger)["loss"]["spans"] == 9


SILENT = {
    "nothing was measured": LossLedger(),
    "it counts and lost nothing": learned(web(0), web(100, Quantity.PROCESSED, series="t", at=500)),
    "another service lost spans": learned(point(412, service="shop"), web(0, at=500)),
    "it lost spans and was done with it before": learned(web(since=-100, at=-1), web(0, Quantity.PROCESSED, at=500, series="t")),
    "it lost spans much later": learned(web(since=200, at=210)),
    "it lost spans somewhere in half an hour": learned(web(since=-900, at=901)),
    "it lost spans since nobody knows when": learned(web(since=None, at=500)),
    "a Collector refused spans, and may have taken them later": learned(point(9, Quantity.COLLECTOR_REFUSED, service="otelcol"), web(0, at=500)),
    "it has spans under way": learned(web(9, Quantity.LIVE, temporality=Temporality.LEVEL, at=500)),
    "it samples": learned(web(9, Quantity.STARTED, reason="DROP", at=500)),
}


@pytest.mark.parametrize("ledger", SILENT.values(), ids=SILENT)
def test_where_the_ledger_says_nothing_of_it_nothing_changes(ledger: LossLedger) -> None:
    said = judged(ledger)
    assert {name: said[name] for name in NOTHING_SAID} == NOTHING_SAID
    assert said["loss"] is None


def test_the_growth_of_a_counter_counts_and_not_what_it_held_before() -> None:
    grown = learned(web(400, since=-5000, at=-60), web(412, since=-5000, at=20))
    assert (judged(grown)["confidence"], judged(grown)["loss"]["spans"]) == (0.95, 412)
    unchanged = learned(web(412, since=-5000, at=-60), web(412, since=-5000, at=20))
    assert judged(unchanged)["loss"] is None


def test_without_a_start_the_growth_between_two_readings_counts() -> None:
    said = judged(learned(web(400, since=None, at=-1), web(412, since=None, at=20)))
    assert (said["confidence"], said["loss"]["spans"]) == (0.95, 12)


def test_a_service_that_lost_the_parent_itself_is_asked_by_instance() -> None:
    own = judged(learned(point(5)), "local_loss")
    assert (own["confidence"], own["loss"]["instance"]) == (0.95, "cart-1")
    other = judged(learned(point(5, instance="cart-2")), "local_loss")
    assert (other["confidence"], other["loss"]) == (0.85, None)
    unnamed = judged(learned(point(5, instance="cart-2")), "local_loss", "cart INTERNAL b<x +5s")
    assert unnamed["loss"]["instance"] == "cart-2"


@pytest.mark.parametrize(
    ("others", "believed"),
    [
        (("web SERVER a instance=web-1",), True),
        (("web SERVER a instance=web-1", "web INTERNAL c<a instance=web-1"), True),
        (("web SERVER a instance=web-2",), False),
        (("web SERVER a instance=web-1", "web SERVER d<a instance=web-2"), True),
        (("web SERVER a",), True),
        (("web SERVER other:a instance=web-2",), True),
        (("shop SERVER a instance=web-2",), True),
    ],
    ids=["that one", "that one twice", "another", "that one or another", "one without a name", "another, in another trace", "of another service"],
)
def test_a_caller_that_is_in_the_trace_is_asked_by_instance(others: tuple[str, ...], *, believed: bool) -> None:
    said = judged(learned(web()), others=others)
    assert (said["loss"] is not None, said["confidence"]) == (believed, 0.95 if believed else 0.85)
    unnamed = judged(learned(web(instance="")), others=others)
    assert unnamed["loss"]["instance"] == ""


def test_what_a_collector_lost_meanwhile_is_mentioned_and_proves_nothing() -> None:
    for quantity in (Quantity.COLLECTOR_SEND_FAILED, Quantity.COLLECTOR_NOT_QUEUED, Quantity.COLLECTOR_DROPPED, Quantity.TAIL_LATE, Quantity.TAIL_TOO_EARLY):
        said = judged(learned(point(9, quantity, service="otelcol", instance="c-1")))
        assert (said["confidence"], said["loss"]["service"], said["loss"]["quantity"]) == (0.85, "otelcol", quantity)


def test_what_the_caller_says_comes_before_what_a_collector_says() -> None:
    assert judged(learned(web(1), point(9000, Quantity.COLLECTOR_SEND_FAILED, service="otelcol", series="t")))["loss"]["service"] == "web"


@pytest.mark.parametrize(
    ("facts", "cause"),
    [
        ({"likely_caller": "", "usual_parent": "web"}, "upstream_loss"),
        ({"likely_caller": "", "usual_parent": ""}, "unknown"),
        ({"likely_caller": "", "usual_parent": "cart"}, "unknown"),
        ({"likely_caller": "", "usual_parent": "web", "parent_is_remote": None}, "unknown"),
        ({"likely_caller": "", "usual_parent": "shop"}, "unknown"),
    ],
    ids=["the usual caller admits a loss", "there is no usual caller", "its own service is the usual caller", "it is not known where", "another admits it"],
)
def test_an_unknown_cause_is_known_where_the_usual_caller_admits_a_loss(facts: dict[str, Any], cause: str) -> None:
    said = judged(learned(web()), "unknown", confidence=0.5, **facts)
    assert (said["cause"], said["confidence"]) == (cause, ADMITTED if cause == "upstream_loss" else 0.5)


def test_an_unknown_cause_stays_unknown_where_only_a_collector_lost_spans() -> None:
    said = judged(learned(point(9, Quantity.COLLECTOR_SEND_FAILED, service="otelcol")), "unknown", usual_parent="web")
    assert (said["cause"], said["loss"]) == ("unknown", None)


def test_who_counts_and_has_not_counted_that_far_is_waited_for() -> None:
    counts = learned(web(0, since=-60, at=0))
    assert judged(counts)["counts_awaited"]
    assert not judged(counts, likely_caller="shop")["counts_awaited"]
    assert not judged(learned(web(0, since=-60, at=60)))["counts_awaited"]
    assert not judged(LossLedger())["counts_awaited"]


def test_a_caller_that_says_it_samples_confirms_that_it_was_sampled_out() -> None:
    begun = [web(90, Quantity.STARTED, reason="DROP", series="a"), web(10, Quantity.STARTED, reason="RECORD_AND_SAMPLE", series="b")]
    said = judged(learned(*begun), "sampled_out")
    assert (said["confidence"], said["begun"], said["not_sampled"]) == (0.95, 100, 90)
    all_kept = judged(learned(begun[1]), "sampled_out")
    assert (all_kept["confidence"], all_kept["begun"], all_kept["not_sampled"]) == (0.85, 10, 0)
    assert judged(learned(web()), "sampled_out")["begun"] is None


def test_a_mangled_context_is_none_of_the_ledgers_business() -> None:
    assert judged(learned(web()), "propagation_mangled")["confidence"] == 0.85


def test_confidence_never_falls_and_never_reaches_certainty() -> None:
    assert judged(learned(web()), confidence=0.995)["confidence"] == 0.995
    assert judged(learned(web()), confidence=0.98)["confidence"] == 0.99


def test_numbers_and_times_at_the_end_of_what_can_be_written_do_no_harm() -> None:
    huge = learned(*[web(2**53, series=f"s{n}") for n in range(2000)])
    assert judged(huge)["loss"]["spans"] == 2**63 - 1
    begun = learned(*[web(2**53, Quantity.STARTED, reason="DROP", series=f"s{n}") for n in range(2000)])
    assert judged(begun, "sampled_out")["not_sampled"] == 2**63 - 1
    last = f"cart SERVER b<x +{(2**63 - EPOCH) // SECOND - 2}s ~1ns"
    first = f"cart SERVER b<x +-{EPOCH // SECOND}s"
    assert judged(learned(web()), line=last)["loss"] is None
    late = learned(web(start_time_unix_nano=2**63 - 10, time_unix_nano=2**63 - 1))
    for line in (first, "cart SERVER b<x +5s", last):
        assert judged(late, line=line)["loss"] is None


def test_many_orphans_get_each_its_own() -> None:
    lines = [f"cart SERVER t{n}:b<x +{n * 100}s" for n in range(10)]
    forest = Forest(spans(*lines).staged())
    row = {"cause": "upstream_loss", "confidence": 0.85, "likely_caller": "web", "usual_parent": "", "parent_is_remote": True}
    causes, losses = reconcile(pa.Table.from_pylist([{"row": n, **row} for n in range(10)]), forest, learned(web(since=390, at=410)))
    near = [bool(EPOCH + 270 * SECOND <= start <= EPOCH + 415 * SECOND) for start in forest.start.tolist()]
    assert [said is not None for said in causes.column("reported").to_pylist()] == near
    assert sum(near) == 2
    assert losses.num_rows == 1
    assert reconcile(pa.Table.from_pylist([{"row": 0, **row}]).slice(0, 0), forest, learned(web()))[0].num_rows == 0
