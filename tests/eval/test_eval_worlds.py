"""Clean worlds lack nothing but what never reports, say so truthfully, and are the same for the same seed."""

from __future__ import annotations

import json

import pytest

from .kinship import kinship
from .otlp_lines import lines
from .simulation import load
from .traces import HAS_IS_REMOTE, IS_REMOTE, Fate, Kind, Span, TraceSet
from .worlds import BLUEPRINTS, world

FEW = 40


def delivered(played: TraceSet) -> list[Span]:
    return [s for s in played.spans if s.uid not in played.fates]


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_only_what_never_reports_is_missed_as_a_parent(name: str):
    played = world(name, 3, FEW)
    here = {s.key for s in delivered(played)}
    silent = {s.key for s in played.spans if played.fates.get(s.uid) is Fate.SILENT}
    absent = {(s.trace_id, s.parent_span_id) for s in delivered(played) if s.parent_span_id} - here
    assert absent <= silent
    assert bool(absent) == (name in ("entry", "numbered"))


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_every_call_of_a_service_is_answered_but_by_gateways_and_where_it_never_arrived(name: str):
    played = world(name, 3, FEW)
    kin, services = kinship(played), {s.service for s in played.spans}
    for span in played.spans:
        address = str(span.attributes.get("server.address", span.attributes.get("net.peer.name", ""))).split(".")[0]
        if span.kind is Kind.CLIENT and (address in services or "rpc.system" in span.attributes) and span.attributes.get("error.type") != "connection_refused":
            assert [played.spans[u].kind for u in kin.answers[span.uid]].count(Kind.SERVER) >= 1


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_a_span_and_its_parent_agree_on_trace_and_on_being_remote(name: str):
    played = world(name, 3, FEW)
    kin = kinship(played)
    for span in played.spans:
        parent = kin.parent[span.uid]
        assert (parent is None) == (not span.parent_span_id)
        if parent is not None:
            assert played.spans[parent].trace_id == span.trace_id
            assert span.remote == (played.spans[parent].resource is not span.resource)
        if span.flags:
            assert span.flags & HAS_IS_REMOTE
            assert bool(span.flags & IS_REMOTE) == span.remote


def test_every_sdk_sends_the_flags_it_does_send():
    by_language = {s.resource.language: s.flags for s in world("fifty", 3, FEW).spans if s.remote}
    assert by_language == {"java": 0x301, "go": 0x301, "node": 0x301, "python": 0x300, "dotnet": 0}
    assert {s.flags for s in world("old", 3, FEW).spans} == {0}


@pytest.mark.parametrize("name", BLUEPRINTS)
def test_each_trace_has_one_root(name: str):
    played = world(name, 3, FEW)
    roots = [s.trace_id for s in played.spans if not s.parent_span_id]
    assert sorted(roots) == sorted({s.trace_id for s in played.spans})


def test_the_same_seed_plays_the_same_and_another_something_else():
    first = list(lines(world("shop", 3, FEW).spans))
    world.cache_clear()
    assert list(lines(world("shop", 3, FEW).spans)) == first
    assert list(lines(world("shop", 4, FEW).spans)) != first


def test_requests_overlap_as_much_as_asked_for():
    calm, busy = (load(world(name, 3, 200)) for name in ("shop@0.2", "shop@20"))
    assert 0.1 < calm < 0.4
    assert 8 < busy < 32


def test_consumers_continue_the_trace_or_link_to_it_or_take_many():
    def consumers(name: str) -> list[Span]:
        return [s for s in world(name, 3, FEW).spans if s.kind is Kind.CONSUMER]

    assert all(s.parent_span_id and not s.links for s in consumers("fanout_parent"))
    assert all(not s.parent_span_id and len(s.links) == 1 for s in consumers("fanout_link"))
    taken = consumers("scheduled")
    assert max(len(s.links) for s in taken) > 1
    assert all(len(s.links) == 1 for s in taken if s.parent_span_id)


def test_streams_are_outlived_and_work_goes_on_after_the_answer():
    streams, kin = world("streaming", 3, FEW), kinship(world("streaming", 3, FEW))
    assert any(streams.spans[u].end > streams.spans[c].end for u, c in kin.caller.items())
    shop, kin = world("shop", 3, FEW), kinship(world("shop", 3, FEW))
    assert any(s.kind is Kind.INTERNAL and s.end > shop.spans[kin.parent[s.uid] or 0].end for s in shop.spans)


def test_a_gateway_without_clients_is_itself_the_parent():
    played = world("gateway", 3, FEW)
    kin = kinship(played)
    callers = {played.spans[c].kind for u, c in kin.caller.items() if played.spans[c].service == "edge"}
    assert callers == {Kind.SERVER}


def test_lines_carry_every_span_once_in_order_of_end_by_resource():
    played = world("fanout_link", 3, FEW)
    seen: list[tuple[str, str]] = []
    for line in lines(played.spans):
        groups = json.loads(line)["resourceSpans"]
        names = [next(a["value"]["stringValue"] for a in g["resource"]["attributes"] if a["key"] == "service.instance.id") for g in groups]
        assert len(names) == len(set(names))
        seen += [(s["traceId"], s["spanId"]) for g in groups for scope in g["scopeSpans"] for s in scope["spans"]]
    assert sorted(seen) == sorted(s.key for s in played.spans)
    assert [s.end for s in played.spans] == sorted(s.end for s in played.spans)
