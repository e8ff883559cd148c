"""The truth about a damaged set agrees with what ids alone show, and demands no more than was done."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from .claims import Truth
from .damage import Cut, Damaged, Severing, sever
from .damage_loss import uninstrumented
from .damage_sampling import randomness
from .damages import DAMAGES
from .kinship import kinship
from .otlp_lines import lines
from .outcome import Aftermath, surely_above
from .real_sets import NAMES, available
from .traces import Fate, Key, Kind, TraceSet
from .truth import truth_of
from .worlds import world

SEED, FEW, MANY = 5, 25, 150
GENERATED = sorted((w, d.name) for d in DAMAGES.values() for w in d.worlds[:2] if w not in NAMES)
"""By world, so that each is played once."""


def chance() -> random.Random:
    return random.Random(SEED)


def done(world_name: str, damage: str, traces: int = MANY) -> tuple[TraceSet, Damaged, Truth]:
    clean = world(world_name, SEED, traces)
    damaged = DAMAGES[damage].done_to(clean, SEED)
    return clean, damaged, truth_of(clean, damaged)


def demanded(truth: Truth, *detectors: str) -> set[Key]:
    return {key for c in truth.expected if not detectors or c.id in detectors for key in c.keys}


def permitted(truth: Truth, detector: str) -> set[Key | None]:
    return {c.key for c in truth.allowed if c.id == detector}


def causes(truth: Truth, detector: str) -> set[frozenset[str]]:
    return {c.causes for c in truth.expected if c.id == detector}


def orphans_by_id(damaged: Damaged) -> set[Key]:
    here = {s.key for s in damaged.spans}
    named = [s for s in damaged.spans if s.parent_span_id and s.parent_span_id != s.span_id]
    return {s.key for s in named if (s.trace_id, s.parent_span_id) not in here}


@pytest.mark.parametrize(("name", "damage"), GENERATED)
def test_the_truth_knows_every_orphan_and_no_other_and_speaks_of_spans_that_arrived_and_of_each_once(name: str, damage: str):
    _, damaged, truth = done(name, damage, FEW)
    assert demanded(truth, "orphan_span") | permitted(truth, "orphan_span") == orphans_by_id(damaged)
    here = {s.key for s in damaged.spans}
    assert demanded(truth) <= here
    assert {key for c in truth.expected for key in c.matched} <= here
    claims = Counter((c.id, key) for c in truth.expected for key in c.keys if c.id != "clock_skew")
    assert set(claims.values()) <= {1}
    assert not {(c.id, key) for c in truth.expected for key in c.keys} & {(c.id, c.key) for c in truth.allowed}


@pytest.mark.skipif(not available(), reason="no folder `shared/data` beside the checkout")
@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("dsb_media", "trainticket_zipkin_v1")])
def test_real_sets_lack_nothing_and_lose_exactly_the_parents_that_were_dropped(name: str):
    assert orphans_by_id(done(name, "clean")[1]) == set()
    for damage in ("loss_5", "drop_server"):
        _, damaged, truth = done(name, damage)
        assert demanded(truth, "orphan_span") == orphans_by_id(damaged)


@pytest.mark.parametrize("damage", ["clean", "linked", "late", "redelivered"])
def test_nothing_is_demanded_where_nothing_is_wrong(damage: str):
    assert done("fanout_parent", damage, FEW)[2].expected == ()


@pytest.mark.parametrize("damage", ["head_50", "head_10", "head_1"])
def test_whole_traces_sampled_away_leave_no_sign(damage: str):
    _, damaged, truth = done("fifty", damage, FEW)
    assert orphans_by_id(damaged) == set()
    assert truth.expected == ()


@pytest.mark.parametrize("name", ["shop", "mesh", "gateway", "retries", "old", "fifty", "streaming"])
def test_a_lost_server_leaves_its_caller_alone_and_that_is_known(name: str):
    clean, damaged, truth = done(name, "drop_server")
    kin = kinship(clean)
    answered = {(s.trace_id, s.parent_span_id) for s in damaged.spans if s.kind is Kind.SERVER}
    attempts = {s.key: (s.trace_id, s.parent_span_id) for s in damaged.spans if s.name == "attempt"}
    answered |= {attempts[key] for key in answered & attempts.keys()}
    reporting = [u for u, answers in kin.answers.items() if clean.spans[u].kind is Kind.CLIENT and not set(answers) & clean.fates.keys()]
    alone = {clean.spans[u].key for u in reporting if u not in damaged.fates} - answered
    known = demanded(truth, "missing_server_span") | permitted(truth, "missing_server_span")
    assert alone <= known
    assert demanded(truth, "missing_server_span") <= alone
    assert 2 * len(alone & demanded(truth, "missing_server_span")) >= len(alone) > 0 or name == "fifty"


@pytest.mark.parametrize("name", ["shop", "mesh", "old", "gateway"])
def test_a_lost_leaf_that_nobody_called_demands_nothing(name: str):
    clean = world(name, SEED, FEW)
    kin = kinship(clean)
    leaves = [s for s in clean.spans if s.uid not in kin.children and s.kind in (Kind.INTERNAL, Kind.CLIENT) and s.parent_span_id]
    lost = Damaged(tuple(s for s in clean.spans if s not in leaves and s.uid not in clean.fates), dict(clean.fates) | {s.uid: Fate.LOST for s in leaves})
    undamaged = Damaged(tuple(s for s in clean.spans if s.uid not in clean.fates), clean.fates)
    assert set(truth_of(clean, lost).expected) <= set(truth_of(clean, undamaged).expected)


@pytest.mark.parametrize(("name", "silent"), [("forwarder", {"edge-proxy"}), ("mesh", set()), ("shop", set()), ("gateway", set())])
def test_only_a_call_to_what_emits_nothing_is_behind_a_silent_hop(name: str, silent: set[str]):
    clean, damaged, _ = done(name, "cut_100" if name != "shop" else "cut_30")
    after = Aftermath(clean, damaged)
    callers = {caller for uid, caller in after.kin.caller.items() if clean.spans[caller].kind is Kind.CLIENT}
    behind = {clean.spans[u].attributes.get("server.address") for u in callers if after.behind_a_silent_hop(u)}
    assert behind == silent


@pytest.mark.parametrize("name", ["shop@20", "mesh", "old", "fifty"])
def test_a_cut_call_is_matched_with_the_span_that_really_made_it(name: str):
    clean, damaged, truth = done(name, "cut_100")
    here = {s.key: s for s in damaged.spans}
    roots = {s.key for s in damaged.spans if not s.parent_span_id} - {s.key for s in clean.spans if not s.parent_span_id}
    broken = [c for c in truth.expected if c.id == "broken_propagation"]
    assert {key for c in broken for key in c.keys} == roots
    for claim in broken:
        (receiver,), (caller,) = ([here[k] for k in keys] for keys in (claim.keys, claim.matched))
        assert caller.kind is Kind.CLIENT
        assert caller.service == claim.peer
        assert caller.start < receiver.start
        assert caller.trace_id != receiver.trace_id
        assert caller.end > receiver.end or not caller.responded


def test_a_gateway_without_clients_is_matched_by_its_server_span():
    clean = world("gateway", SEED, FEW)
    kin = kinship(clean)
    behind = [u for u, c in kin.caller.items() if clean.spans[c].service == "edge"]
    truth = truth_of(clean, sever(clean, Severing(dict.fromkeys(behind, Cut.NEW_TRACE)), chance()))
    assert {key for c in truth.expected for key in c.matched} == {clean.spans[kin.caller[u]].key for u in behind}
    assert causes(truth, "broken_propagation") <= {frozenset({"not_injected"}), frozenset({"not_injected", "not_extracted", "unknown"})}


@pytest.mark.parametrize(
    ("name", "damage", "expected"),
    [
        ("shop", "cut_5", {"stripped_between", "unknown"}),
        ("fifty", "cut_caller", {"not_injected"}),
        ("fifty", "cut_callee", {"not_extracted"}),
        ("shop", "cut_same_trace", {"not_extracted", "stripped_between", "unknown"}),
    ],
)
def test_who_is_to_blame_for_a_cut_is_who_works_with_nobody(name: str, damage: str, expected: set[str]):
    assert causes(done(name, damage)[2], "broken_propagation") == {frozenset(expected)}


@pytest.mark.parametrize(
    ("name", "damage", "expected"),
    [
        ("shop", "dead", {frozenset({"upstream_silent"})}),
        ("mesh", "dead", {frozenset({"upstream_silent", "propagation_mangled"})}),
        ("shop", "drop_client", {frozenset({"upstream_loss"})}),
        ("shop", "drop_server", {frozenset({"local_loss"})}),
        ("node_chain", "drop_root", {frozenset({"upstream_loss"})}),
        ("shop", "mangled", {frozenset({"propagation_mangled"})}),
        ("fifty", "sampled_th", {frozenset({"sampled_out"})}),
        ("fifty", "tail_marked", {frozenset({"sampled_out"})}),
    ],
)
def test_an_orphan_has_the_cause_of_what_was_done(name: str, damage: str, expected: set[frozenset[str]]):
    if name in NAMES and name not in available():
        pytest.skip("no folder `shared/data` beside the checkout")
    assert causes(done(name, damage)[2], "orphan_span") == expected


def test_a_constant_parent_id_is_one_and_invented_ones_are_many():
    for damage, many in (("constant_parent", False), ("mangled", True)):
        truth = done("shop", damage)[2]
        absent = {m for c in truth.expected for m in c.missing}
        assert (len(absent) > 1) == many


def test_a_dead_service_is_silent_and_one_that_died_went_silent():
    assert causes(done("shop", "dead")[2], "silent_service") == {frozenset()}
    assert causes(done("shop", "dead_midway", 300)[2], "silent_service") == {frozenset({"went_silent"})}


def test_a_lost_root_is_one_occurrence_a_trace():
    clean, damaged, truth = done("shop", "drop_root")
    lost = {clean.spans[u].trace_id for u, fate in damaged.fates.items() if fate is Fate.LOST}
    assert sorted(min(c.keys)[0] for c in truth.expected if c.id == "missing_root_span") == sorted(lost)
    assert causes(truth, "missing_root_span") == {frozenset({"local_loss"})}


def test_a_lost_consumer_is_demanded_where_its_children_came():
    clean, damaged, truth = done("fanout_parent", "drop_server")
    kin, here = kinship(clean), {s.uid for s in damaged.spans}
    lost = [u for u in damaged.fates if clean.spans[u].kind is Kind.CONSUMER]
    shown = {clean.spans[kin.caller[u]].key for u in lost if here & set(kin.children.get(u, ()))}
    assert demanded(truth, "missing_consumer_span") == shown
    assert permitted(truth, "missing_consumer_span") == {clean.spans[kin.caller[u]].key for u in lost} - shown


def test_a_producer_that_only_links_name_is_demanded_at_the_consumer():
    clean, damaged, truth = done("fanout_link", "drop_client")
    here = {s.key for s in damaged.spans}
    dangling = {s.key for s in damaged.spans if s.kind is Kind.CONSUMER and any(x.target not in here for x in s.links)}
    assert demanded(truth, "missing_producer_span") == dangling
    assert clean.fates == {}


def test_a_root_whose_caller_emits_nothing_is_unexpected_only_where_others_call():
    truth = done("shop", "unseen_callers", 400)[2]
    assert demanded(truth, "unexpected_root")
    assert not demanded(truth, "broken_propagation")
    clean = world("shop", SEED, MANY)
    assert not demanded(truth_of(clean, uninstrumented(clean, chance())), "unexpected_root", "broken_propagation")


def test_a_wrong_clock_is_demanded_once_for_each_pair_of_hosts_and_changes_nothing_else():
    for damage in ("skew_3ms", "skew_5s"):
        truth = done("shop", damage)[2]
        assert {c.id for c in truth.expected} == {"clock_skew"}
        assert len(truth.expected) <= 3


def test_a_leak_ends_up_below_a_span_of_its_process_that_had_ended():
    _, damaged, truth = done("shop", "leaked")
    here = {s.key: s for s in damaged.spans}
    for trace_id, span_id in demanded(truth, "leaked_context"):
        span, parent = here[trace_id, span_id], here[trace_id, here[trace_id, span_id].parent_span_id]
        assert parent.resource is span.resource
        assert parent.end < span.start


def test_a_halved_trace_is_one_occurrence_and_its_parent_is_in_the_whole_one():
    _, damaged, truth = done("shop", "half_id")
    here = {s.key for s in damaged.spans}
    tops = [s for s in damaged.spans if s.trace_id.startswith("0" * 16) and (s.trace_id, s.parent_span_id) not in here]
    whole = {(s.trace_id[16:], s.span_id) for s in damaged.spans if not s.trace_id.startswith("0" * 16)}
    assert tops
    assert all((s.trace_id[16:], s.parent_span_id) in whole for s in tops)
    assert len([c for c in truth.expected if c.id == "truncated_trace_id"]) == len({s.trace_id for s in tops})


@pytest.mark.parametrize("damage", ["loss_5", "cut_30", "mangled", "sampled_ratio", "redelivered"])
def test_the_same_seed_does_the_same_damage(damage: str):
    name = DAMAGES[damage].worlds[0]
    first = list(lines(done(name, damage, FEW)[1].spans))
    assert list(lines(done(name, damage, FEW)[1].spans)) == first
    clean = world(name, SEED, FEW)
    assert list(lines(DAMAGES[damage].done_to(clean, SEED + 1).spans)) != first


def test_ratio_samplers_read_ids_as_their_sdks_do():
    low = "8" + "0" * 15
    assert randomness("f" * 16 + low, "python") == randomness("f" * 16 + low, "go") == 0.5
    assert randomness("0" * 16 + "f" * 16, "java") == pytest.approx(0, abs=1e-9)
    assert randomness(low + "f" * 16, "dotnet") == 1
    assert randomness("80000000" + "00000000" + "40000000" + "00000000", "node") == 0.75


def test_a_share_is_proven_by_numbers():
    assert [surely_above(k, 30, 0.8) for k in (27, 28)] == [False, True]
    assert [surely_above(n, n, 0.95) for n in (58, 59)] == [False, True]
    assert not surely_above(0, 0, 0.5)


def test_thresholds_agree_with_what_was_kept():
    clean, damaged, _ = done("shop", "sampled_th")
    for span in damaged.spans:
        digits = span.trace_state.removeprefix("ot=th:")
        assert int(span.trace_id[-14:], 16) >= int(digits.ljust(14, "0"), 16)
    assert len(damaged.spans) < len(clean.spans)
