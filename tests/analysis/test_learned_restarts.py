"""What passes learned of samplers, addresses, absent ids and trace ids goes on after a restart."""

from __future__ import annotations

import json

import numpy as np
import pytest
from looking import NOW, new_passes
from spans import EPOCH, spans, trace_id

from traced.analysis.passes import Passes
from traced.graph.trace_ids import MAX_SAVED, RecentTraceIds

LINKED = [line for n in range(20) for line in (f"shop PRODUCER a{n}:p msg=kafka dest=orders", f"mail CONSUMER b{n}:c ->a{n}:p msg=kafka dest=orders name=take")]
TAKEN = "mail CONSUMER t:c ->lost:p msg=kafka dest=orders name=take"


def restarted(passes: Passes) -> Passes:
    after = new_passes()
    after.restore(json.loads(json.dumps(passes.dump())))
    return after


def test_a_link_into_a_trace_of_before_the_restart_is_told_of() -> None:
    passes = new_passes()
    passes.run(spans(*LINKED, "shop SERVER lost:a").settled(), NOW, EPOCH)
    after = restarted(passes)
    outcome = after.run(spans(TAKEN).settled(), NOW + 1, EPOCH + 10**9)
    told = [*outcome.occurrences, *after.waited(EPOCH + 10**10).occurrences]
    assert {o.cause for o in told if o.id == "missing_producer_span"} == {"upstream_loss"}


def test_an_address_from_which_callers_never_report_stays_one() -> None:
    passes = new_passes()
    usual = [line for n in range(30) for line in (f"web CLIENT m{n}:b name=get", f"cart SERVER m{n}:c<b name=get client.address=10.0.0.1")]
    outside = [f"cart SERVER o{n}:c<x{n} name=get client.address=203.0.113.9" for n in range(9)]
    passes.run(spans(*usual, *outside).settled(), NOW, EPOCH)
    found = restarted(passes).run(spans("cart SERVER last:c<y name=get client.address=203.0.113.9").settled(), NOW + 1, EPOCH + 10**10).occurrences
    assert {o.cause for o in found if o.id == "orphan_span"} == {"upstream_silent"}


def test_an_id_that_two_traces_named_is_constant_when_a_third_one_does() -> None:
    passes = new_passes()
    passes.run(spans("cart SERVER one:b<x remote", "cart SERVER two:b<x remote").settled(), NOW, EPOCH)
    found = restarted(passes).run(spans("cart SERVER three:b<x remote").settled(), NOW + 1, EPOCH).occurrences
    assert {o.cause for o in found if o.id == "orphan_span"} == {"propagation_mangled"}


def test_the_newest_trace_ids_are_kept() -> None:
    before, after = RecentTraceIds(), RecentTraceIds()
    ids = [np.array([trace_id(f"t{n}")[half] for n in range(5)], np.uint64) for half in range(2)]
    before.remember(np.arange(MAX_SAVED, dtype=np.uint64), np.arange(MAX_SAVED, dtype=np.uint64))
    before.remember(*ids)
    state = before.dump()
    assert sum(map(len, state)) < 450_000
    after.load(json.loads(json.dumps(state)))
    high, low = after.ids()
    assert len(high) == len(low) == MAX_SAVED
    assert [high[-5:].tolist(), low[-5:].tolist()] == [half.tolist() for half in ids]


@pytest.mark.parametrize("state", [["!"], ["AAAA"], [5]])
def test_what_is_no_list_of_trace_ids_is_refused(state: list[object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        RecentTraceIds().load(state)
