"""Samplers are told by where their traces lie; each trace counts once; nothing of it is forgotten at a restart."""

from __future__ import annotations

import json

import numpy as np
from spans import Spans, many, spans, trace_id

from traced.graph.calls import Naming
from traced.graph.columns import mix
from traced.graph.forest import Forest
from traced.graph.gone import CALLER_GONE, Gap
from traced.graph.relation import build
from traced.graph.sampling import DROPPED, PERHAPS, Samplers

HALF = 2**63
NAMES = [f"m{n}" for n in range(400)]
BELOW = [name for name in NAMES if trace_id(name)[1] < HALF]
ABOVE = [name for name in NAMES if trace_id(name)[1] >= HALF]


def seen(samplers: Samplers, given: Spans, fresh: list[bool] | None = None) -> None:
    made = build(Forest(given.staged()), Naming())
    samplers.learn(made, np.ones(len(given), bool) if fresh is None else np.array(fresh))


def gone(names: list[str], service: str = "web") -> list[Gap]:
    return [Gap(int(mix(*(np.array([half], np.uint64) for half in trace_id(n)))[0]), *trace_id(n), 0, CALLER_GONE, service, "cart") for n in names]


def verdict(samplers: Samplers, name: str, service: str = "web") -> str:
    return samplers.verdict((service,), *trace_id(name), "", gone=True)[0]


def kept(number: int, service: str = "web") -> Samplers:
    samplers = Samplers()
    seen(samplers, spans(*(f"{service} SERVER {name}:a" for name in BELOW[:number])))
    return samplers


def test_a_trace_counts_once_for_each_service_however_often_it_is_looked_at() -> None:
    samplers = Samplers()
    seen(samplers, spans("worker SERVER t:a", "cart SERVER t:b<a"))
    for late in range(60):
        grown = spans("worker SERVER t:a", "cart SERVER t:b<a", f"worker INTERNAL t:c{late}<a")
        seen(samplers, grown, [False, False, True])
    assert (samplers.of("worker").traces, samplers.of("cart").traces) == (1, 1)


def test_traces_on_two_sides_of_a_cut_show_it_where_few_of_them_lie_below() -> None:
    samplers = kept(13)
    seen(samplers, spans(*many(30, "cart SERVER a")))
    assert verdict(samplers, ABOVE[0]) == ""
    samplers.learn_gone(gone(ABOVE[:13]))
    assert verdict(samplers, ABOVE[0]) == DROPPED
    assert verdict(samplers, BELOW[0]) == ""


def test_few_traces_on_two_sides_are_perhaps_a_cut() -> None:
    samplers = kept(6)
    samplers.learn_gone(gone(ABOVE[:2]))
    assert verdict(samplers, ABOVE[0]) == PERHAPS
    assert samplers.verdict(("web",), *trace_id(ABOVE[0]), "") == ("", ""), "it has other spans in the trace"


def test_one_trace_beyond_many_is_rather_lost() -> None:
    samplers = kept(20)
    samplers.learn_gone(gone(ABOVE[:1]))
    assert verdict(samplers, ABOVE[0]) == ""


def test_losses_do_not_know_trace_ids() -> None:
    samplers = Samplers()
    seen(samplers, spans(*(f"web SERVER {name}:a" for name in NAMES[:100])))
    samplers.learn_gone(gone(NAMES[100:130]))
    assert {verdict(samplers, name) for name in NAMES[100:130]} == {""}


def test_ids_that_begin_with_the_time_are_no_sampling_when_a_service_falls_silent() -> None:
    names = [f"{0x65000000 + n:08x}{trace_id(f'x{n}')[0] & (2**32 - 1):08x}{trace_id(f'x{n}')[1]:016x}" for n in range(60)]
    samplers = Samplers()
    seen(samplers, spans(*(f"web SERVER {name}:a" for name in names[:30])))
    samplers.learn_gone(gone(names[30:]))
    assert {verdict(samplers, name) for name in names[30:]} == {""}


def test_a_service_that_came_late_is_gone_no_more() -> None:
    samplers = kept(13)
    samplers.learn_gone(gone(ABOVE[:13]))
    samplers.take_back(one.trace for one in gone(ABOVE[:13]))
    assert verdict(samplers, ABOVE[0]) == ""


def test_a_restart_forgets_nothing() -> None:
    before, after = kept(13), Samplers()
    seen(before, spans("tax SERVER t:a state=ot=th:8"))
    before.learn_gone(gone(ABOVE[:13]))
    after.load(json.loads(json.dumps(before.dump())))
    assert after.dump() == before.dump()
    assert verdict(after, ABOVE[0]) == DROPPED
    assert after.of("tax").thresholds == (2**55, 2**55)


def test_of_a_service_that_was_not_heard_of_since_nothing_was_known_nobody_can_tell() -> None:
    assert verdict(Samplers(), ABOVE[0]) == PERHAPS
