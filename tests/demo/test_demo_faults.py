"""The list of planted faults agrees with itself, and can be read."""

from __future__ import annotations

from shop_truth import expected_edges, explained, healthy_services

from traced.demo.faults import Claim, planted_faults, planted_faults_text
from traced.demo.services import ROUTES, SERVICES


def test_names_are_unique():
    names = [fault.name for fault in planted_faults()]
    assert len(names) == len(set(names)) == 9


def test_no_claim_is_both_expected_and_excluded():
    excluded = [claim for fault in planted_faults() for claim in fault.not_expected]
    for claim in (claim for fault in planted_faults() for claim in (*fault.expected, *fault.may_also)):
        assert not any(other.covers(claim.detector, claim.service, claim.peer or "") for other in excluded), claim


def test_nothing_is_expected_of_healthy_services():
    named = {claim.service for fault in planted_faults() for claim in (*fault.expected, *fault.may_also)}
    assert len(healthy_services()) == 3
    assert not named & set(healthy_services())


def test_every_named_service_exists():
    named = {claim.service for fault in planted_faults() for claim in (*fault.expected, *fault.not_expected, *fault.may_also)}
    ends = {end for client, server, _ in expected_edges() for end in (client, server)}
    assert named <= set(SERVICES)
    assert ends - {"user", "postgres"} <= set(SERVICES)
    assert set(ROUTES) < set(SERVICES)
    assert len(SERVICES) == 13


def test_failing_and_slow_edges_are_expected_edges():
    edges = {(client, server) for client, server, _ in expected_edges()}
    assert {fault.failing_edge for fault in planted_faults()} - {None} == {("order", "payment")}
    assert all(edge in edges for fault in planted_faults() for edge in (fault.failing_edge, fault.slow_edge) if edge)


def test_a_claim_without_peer_covers_any_peer():
    assert Claim("orphan_span", "tax").covers("orphan_span", "tax", "pricing")
    assert Claim("orphan_span", "tax").covers("orphan_span", "tax", "")


def test_a_claim_with_peer_covers_that_peer_only():
    claim = Claim("missing_server_span", "web", "cart")
    assert claim.covers("missing_server_span", "web", "cart")
    assert not claim.covers("missing_server_span", "web", "order")


def test_only_listed_findings_are_explained():
    assert explained("broken_propagation", "cart", "web")
    assert not explained("missing_server_span", "web", "cart")
    assert explained("orphan_span", "payment", "")
    assert not explained("missing_server_span", "web", "pricing")
    assert not explained("orphan_span", "cart", "web")


def test_the_text_names_every_fault_and_what_traced_says_within_the_width():
    text = planted_faults_text(width=80)
    assert all(len(line) <= 80 for line in text.splitlines())
    words = " ".join(text.split())
    for fault in planted_faults():
        assert fault.name in words
        assert " ".join(fault.what_traced_says.split()) in words
