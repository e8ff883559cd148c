"""Which calls the graph draws: the rules, one by one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from looking import NOW, Edges, Elsewhere, look
from spans import many, spans

USER = ("user", "web", "virtual_node")

CALLS: dict[str, tuple[Sequence[str], Edges]] = {
    "a CLIENT and its SERVER are one call": (["web CLIENT a", "cart SERVER b<a"], {("web", "cart", ""): (1, 0)}),
    "a SERVER alone is called by the user": (["web SERVER a"], {USER: (1, 0)}),
    "a SERVER root that names its peer is called by it": (["web SERVER a peer=mobile"], {("mobile", "web", "virtual_node"): (1, 0)}),
    "a SERVER whose parent is absent makes no edge": (["cart SERVER b<x"], {}),
    "a SERVER whose parent is absent but that names its peer": (["cart SERVER b<x peer=web"], {("web", "cart", "virtual_node"): (1, 0)}),
    "INTERNAL spans between the two are looked through": (
        ["web CLIENT a", "web INTERNAL i<a", "cart INTERNAL j<i", "cart SERVER b<j"],
        {("web", "cart", ""): (1, 0)},
    ),
    "one CLIENT that two SERVERs answer are two calls": (["web CLIENT a", "cart SERVER b<a", "cart SERVER c<a err"], {("web", "cart", ""): (2, 1)}),
    "a shared id is one call": (["web CLIENT a", "cart SERVER a"], {("web", "cart", ""): (1, 0)}),
    "a shared id that failed on one side is one failed call": (["web CLIENT a err", "cart SERVER a"], {("web", "cart", ""): (1, 1)}),
    "an error on either side is one error": (
        ["web CLIENT one:a err", "cart SERVER one:b<a", "web CLIENT two:a", "cart SERVER two:b<a err", "web CLIENT three:a err", "cart SERVER three:b<a err"],
        {("web", "cart", ""): (3, 3)},
    ),
    "a SERVER straight under another service's SERVER is a call": (["web SERVER a", "cart SERVER b<a"], {USER: (1, 0), ("web", "cart", ""): (1, 0)}),
    "a SERVER under a SERVER of its own service is not": (["web SERVER a", "web SERVER b<a"], {USER: (1, 0)}),
    "a service that calls itself": (["web CLIENT a", "web SERVER b<a"], {("web", "web", ""): (1, 0)}),
    "a CLIENT of another service straight below speaks for its lost SERVER": (
        ["driver SERVER a", "redis CLIENT b<a name=GetDriver"],
        {("user", "driver", "virtual_node"): (1, 0), ("driver", "redis", ""): (1, 0)},
    ),
    "and its own call counts beside it": (
        ["web CLIENT a", "cart CLIENT b<a addr=db-1 db=redis"],
        {("web", "cart", ""): (1, 0), ("cart", "db-1", "database"): (1, 0)},
    ),
    "what the lost SERVER would have said is not taken from the CLIENT below": (
        ["web SERVER a", "cart CLIENT b<a err"],
        {USER: (1, 0), ("web", "cart", ""): (1, 0)},
    ),
    "nested CLIENTs are one call": (["web CLIENT a addr=s3", "web CLIENT b<a", "s3 SERVER c<b"], {("web", "s3", ""): (1, 0)}),
    "of nested CLIENTs without an answer the inner one counts": (
        ["web CLIENT a addr=outer", "web CLIENT b<a addr=inner"],
        {("web", "inner", "virtual_node"): (1, 0)},
    ),
    "the request that carries a query is the query": (
        ["web CLIENT a addr=search-1 db=elasticsearch", "web CLIENT b<a addr=10.0.0.9"],
        {("web", "search-1", "database"): (1, 0)},
    ),
    "two parentless SERVERs in one trace are two entries": (
        ["web SERVER a", "cart SERVER b"],
        {USER: (1, 0), ("user", "cart", "virtual_node"): (1, 0)},
    ),
    "one process under two service names": (["web CLIENT a local", "shop SERVER b<a local"], {("web", "shop", ""): (1, 0)}),
    "a SERVER instrumented twice under one CLIENT": (["web CLIENT a", "cart SERVER b<a", "cart SERVER c<b"], {("web", "cart", ""): (1, 0)}),
    "a span that ends before it starts is still a call": (["web CLIENT a ~-5ms", "cart SERVER b<a ~-1ms"], {("web", "cart", ""): (1, 0)}),
    "times of zero": (["web CLIENT a ~0ns", "cart SERVER b<a +0ns ~0ns"], {("web", "cart", ""): (1, 0)}),
    "a trace sampled twice at its tail": (["web CLIENT a", "cart SERVER b<a", "web CLIENT a @40s", "cart SERVER b<a @40s"], {("web", "cart", ""): (1, 0)}),
    "every span sent twice": (["web CLIENT a", "web CLIENT a", "cart SERVER b<a", "cart SERVER b<a"], {("web", "cart", ""): (1, 0)}),
    "spans of a loop make no trouble": (["web CLIENT a<b", "cart SERVER b<a", "web SERVER r"], {USER: (1, 0)}),
    # ---- names
    "an unanswered CLIENT calls its peer": (["web CLIENT a peer=bank"], {("web", "bank", "virtual_node"): (1, 0)}),
    "an unanswered CLIENT calls its address": (["web CLIENT a addr=bank.example.com err"], {("web", "bank.example.com", "virtual_node"): (1, 1)}),
    "the peer's name goes before its address": (["web CLIENT a peer=bank addr=10.0.0.1"], {("web", "bank", "virtual_node"): (1, 0)}),
    "an unanswered CLIENT that names nobody draws nothing": (["web CLIENT a"], {}),
    "an unanswered PRODUCER calls its broker": (["web PRODUCER a addr=kafka-1 msg=kafka"], {("web", "kafka-1", "virtual_node"): (1, 0)}),
    "a peer that reports is a service": (
        ["web CLIENT one:a peer=cart", "cart SERVER two:b"],
        {("web", "cart", ""): (1, 0), ("user", "cart", "virtual_node"): (1, 0)},
    ),
    "a span of no kind that names its peer acts as a CLIENT": (["web UNSPECIFIED a peer=bank"], {("web", "bank", "virtual_node"): (1, 0)}),
    "a span of no kind with an address only may be a server": (["web UNSPECIFIED a addr=web.local"], {}),
    "a span of no kind that names its peer is answered like a CLIENT": (["web UNSPECIFIED a peer=cart", "cart SERVER b<a"], {("web", "cart", ""): (1, 0)}),
    "a nameless span belongs to its nearest named ancestor": (["web SERVER a", "- CLIENT b<a", "cart SERVER c<b"], {USER: (1, 0), ("web", "cart", ""): (1, 0)}),
    "also through other nameless spans": (
        ["web SERVER a", "- INTERNAL i<a", "- INTERNAL j<i", "- CLIENT b<j peer=bank"],
        {USER: (1, 0), ("web", "bank", "virtual_node"): (1, 0)},
    ),
    "a trace without any name draws nothing": (["- SERVER a", "- CLIENT b<a", "- SERVER c<b"], {}),
    # ---- databases
    "a database is named by its peer": (["web CLIENT a db=mysql peer=orders-db addr=10.0.0.1"], {("web", "orders-db", "database"): (1, 0)}),
    "else by its address": (["web CLIENT a db=mysql addr=db-1"], {("web", "db-1", "database"): (1, 0)}),
    "else by its network address": (["web CLIENT a db=mysql network.peer.address=10.0.0.1"], {("web", "10.0.0.1", "database"): (1, 0)}),
    "and port": (["web CLIENT a db=mysql network.peer.address=10.0.0.1 network.peer.port=3306"], {("web", "10.0.0.1:3306", "database"): (1, 0)}),
    "else by its namespace": (["web CLIENT a db=mysql db.namespace=orders"], {("web", "orders", "database"): (1, 0)}),
    "or as it was called before": (["web CLIENT a db.system=mysql db.name=orders"], {("web", "orders", "database"): (1, 0)}),
    "else by its system": (["web CLIENT a db=mysql err"], {("web", "mysql", "database"): (1, 1)}),
    "a database that reports is a service": (["web CLIENT a db=mysql addr=db-1", "mysql SERVER b<a"], {("web", "mysql", ""): (1, 0)}),
    "also where this call's answer was lost": (
        ["web CLIENT one:a db=mysql", "mysql SERVER two:b"],
        {("web", "mysql", ""): (1, 0), ("user", "mysql", "virtual_node"): (1, 0)},
    ),
    "a SERVER with a database's attributes is not one": (["db SERVER a db=mysql"], {("user", "db", "virtual_node"): (1, 0)}),
    # ---- messages
    "a PRODUCER and its CONSUMER by parent": (["shop PRODUCER p", "billing CONSUMER k<p"], {("shop", "billing", "messaging_system"): (1, 0)}),
    "one message, three consumers": (
        ["shop PRODUCER p", "billing CONSUMER k<p", "mail CONSUMER l<p err", "stock CONSUMER m<p"],
        {("shop", "billing", "messaging_system"): (1, 0), ("shop", "mail", "messaging_system"): (1, 1), ("shop", "stock", "messaging_system"): (1, 0)},
    ),
    "by link, from another trace": (["shop PRODUCER one:p", "billing CONSUMER two:k ->one:p"], {("shop", "billing", "messaging_system"): (1, 0)}),
    "a batch of three, a link each": (
        ["shop PRODUCER one:p", "shop PRODUCER two:p", "shop PRODUCER three:p", "billing CONSUMER k ->one:p ->two:p ->three:p"],
        {("shop", "billing", "messaging_system"): (3, 0)},
    ),
    "by shared id": (["shop PRODUCER p", "billing CONSUMER p"], {("shop", "billing", "messaging_system"): (1, 0)}),
    "a link beside a parent of the same producer says nothing new": (
        ["shop PRODUCER p", "billing CONSUMER k<p ->p"],
        {("shop", "billing", "messaging_system"): (1, 0)},
    ),
    "received and processed is one message": (
        ["shop PRODUCER p", "billing CONSUMER r op=receive ->p", "billing CONSUMER k<r op=process ->p"],
        {("shop", "billing", "messaging_system"): (1, 0)},
    ),
    "received in one trace and processed in the producer's": (
        ["shop PRODUCER p", "billing CONSUMER other:r op=receive ->t:p", "billing CONSUMER k<p op=process"],
        {("shop", "billing", "messaging_system"): (1, 0)},
    ),
    "a batch received, each message processed below": (
        ["shop PRODUCER one:p", "shop PRODUCER two:p", "billing CONSUMER r ->one:p ->two:p", "billing CONSUMER k<r ->one:p", "billing CONSUMER l<r ->two:p"],
        {("shop", "billing", "messaging_system"): (2, 0)},
    ),
    "received by one service and processed by another are two": (
        ["shop PRODUCER p", "bridge CONSUMER r op=receive ->p", "billing CONSUMER k op=process ->p"],
        {("shop", "bridge", "messaging_system"): (1, 0), ("shop", "billing", "messaging_system"): (1, 0)},
    ),
    "only received, it counts": (["shop PRODUCER p", "billing CONSUMER r op=receive ->p"], {("shop", "billing", "messaging_system"): (1, 0)}),
    "a message consumed twice is two": (
        ["shop PRODUCER p", "billing CONSUMER k<p", "billing CONSUMER l<p +5s"],
        {("shop", "billing", "messaging_system"): (2, 0)},
    ),
    "a PRODUCER that a SERVER answers is a call": (["web PRODUCER a", "cart SERVER b<a"], {("web", "cart", ""): (1, 0)}),
    "a CLIENT that sends messages": (["web CLIENT a msg=sqs", "cart CONSUMER b<a"], {("web", "cart", "messaging_system"): (1, 0)}),
    "a plain CLIENT above a CONSUMER sends none": (["web CLIENT a", "cart CONSUMER b<a"], {}),
    "a plain CLIENT that a CONSUMER links to sends none": (["web CLIENT one:a", "cart CONSUMER two:b ->one:a"], {}),
    "a CLIENT that receives calls nobody": (["billing CLIENT a msg=kafka op=receive addr=kafka-1"], {}),
    "a CLIENT that settles calls nobody": (["billing CLIENT a msg=servicebus op=settle addr=sb-1"], {}),
    "a CONSUMER root without a link is called by the user": (["billing CONSUMER k"], {("user", "billing", "virtual_node"): (1, 0)}),
    "a CONSUMER root whose link leads nowhere is linked, not called": (["billing CONSUMER k ->gone:p"], {}),
    "a link from a SERVER is no message": (["shop PRODUCER one:p", "billing SERVER two:k ->one:p"], {("user", "billing", "virtual_node"): (1, 0)}),
    "a link to a SERVER is no message": (["shop SERVER one:p", "billing CONSUMER two:k ->one:p"], {("user", "shop", "virtual_node"): (1, 0)}),
    # ---- aliases
    "an address whose calls one service answers is that service": (
        [*many(3, "web CLIENT a addr=10.0.0.7", "cart SERVER b<a"), "web CLIENT a addr=10.0.0.7"],
        {("web", "cart", ""): (4, 0)},
    ),
    "also for another caller, in another trace": (
        ["web CLIENT one:a addr=cart-svc", "cart SERVER one:b<a", "mail CLIENT two:a addr=cart-svc err"],
        {("web", "cart", ""): (1, 0), ("mail", "cart", ""): (1, 1)},
    ),
    "an address that two services answer is neither": (
        ["web CLIENT one:a addr=lb", "cart SERVER one:b<a", "web CLIENT two:a addr=lb", "stock SERVER two:b<a", "web CLIENT three:a addr=lb"],
        {("web", "cart", ""): (1, 0), ("web", "stock", ""): (1, 0), ("web", "lb", "virtual_node"): (1, 0)},
    ),
    "an address whose calls are mostly not answered is somebody else, too": (
        ["web CLIENT one:a addr=localhost", "cart SERVER one:b<a", "web CLIENT two:a addr=localhost", "web CLIENT three:a addr=localhost"],
        {("web", "cart", ""): (1, 0), ("web", "localhost", "virtual_node"): (2, 0)},
    ),
    "a database at the address of a service is no such call": (
        ["web CLIENT one:a addr=localhost", "cart SERVER one:b<a", "cart CLIENT two:c addr=localhost db=mysql"],
        {("web", "cart", ""): (1, 0), ("cart", "localhost", "database"): (1, 0)},
    ),
    "a name that reports itself is not another's alias": (
        ["web CLIENT one:a peer=mesh", "cart SERVER one:b<a", "web CLIENT two:a peer=mesh", "mesh INTERNAL three:m"],
        {("web", "cart", ""): (1, 0), ("web", "mesh", ""): (1, 0)},
    ),
}


@pytest.mark.parametrize(("lines", "edges"), [pytest.param(*case, id=said) for said, case in CALLS.items()])
def test_calls_in_this_order_of_arrival_and_the_opposite_one(lines: Sequence[str], edges: Edges) -> None:
    for order in (lines, lines[::-1]):
        assert look(order, only="parent_loop").edges == edges


# ---------------------------------------------------------------------- settings

ENTRY = ["web SERVER one:a peer=mobile", "web SERVER two:b", "billing CONSUMER three:k"]
LONELY = ["web CLIENT one:a peer=bank", "web CLIENT two:b", "web CLIENT three:c db=mysql", "web CLIENT four:d msg=kafka"]


@pytest.mark.parametrize(
    ("setting", "edges"),
    [
        ("peer_or_user", {("mobile", "web", "virtual_node"): (1, 0), USER: (1, 0), ("user", "billing", "virtual_node"): (1, 0)}),
        ("user", {USER: (2, 0), ("user", "billing", "virtual_node"): (1, 0)}),
        ("peer", {("mobile", "web", "virtual_node"): (1, 0)}),
        ("none", {}),
    ],
)
def test_who_calls_a_root_is_a_setting(setting: str, edges: Edges) -> None:
    assert look(ENTRY, virtual_callers=setting).edges == edges


@pytest.mark.parametrize(
    ("setting", "edges"),
    [
        ("peer", {("web", "bank", "virtual_node"): (1, 0), ("web", "mysql", "database"): (1, 0)}),
        ("peer_or_unknown", {("web", "bank", "virtual_node"): (1, 0), ("web", "unknown", "virtual_node"): (1, 0), ("web", "mysql", "database"): (1, 0)}),
        ("none", {("web", "mysql", "database"): (1, 0)}),
    ],
)
def test_whom_an_unanswered_client_calls_is_a_setting(setting: str, edges: Edges) -> None:
    assert look(LONELY, virtual_callees=setting).edges == edges


# ---------------------------------------------------------------------- links to elsewhere


def test_a_link_leads_to_a_producer_that_lies_elsewhere_in_the_store() -> None:
    seen = look(["billing CONSUMER k ->long-ago:p"], Elsewhere("shop PRODUCER long-ago:p"))
    assert seen.edges == {("shop", "billing", "messaging_system"): (1, 0)}


def test_a_link_to_a_span_elsewhere_that_is_no_producer_is_no_message() -> None:
    assert look(["billing CONSUMER k ->long-ago:p"], Elsewhere("shop SERVER long-ago:p")).edges == {}


def test_of_a_shared_id_elsewhere_the_sending_half_is_meant() -> None:
    seen = look(["billing CONSUMER k ->long-ago:p"], Elsewhere("mail CONSUMER long-ago:p", "shop PRODUCER long-ago:p"))
    assert seen.edges == {("shop", "billing", "messaging_system"): (1, 0)}


def test_links_here_elsewhere_and_nowhere_in_one_batch() -> None:
    seen = look(["shop PRODUCER one:p", "billing CONSUMER k ->one:p ->long-ago:p ->never:p"], Elsewhere("mail PRODUCER long-ago:p"))
    assert seen.edges == {("shop", "billing", "messaging_system"): (1, 0), ("mail", "billing", "messaging_system"): (1, 0)}


def test_more_links_to_elsewhere_than_the_limit_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("traced.analysis.link_targets.MAX_OUTSIDE_LINKS", 3)
    seen = look(["billing CONSUMER k " + " ".join(f"->gone:p{n}" for n in range(5))])
    (counter,) = (s.value for m in seen.passes._telemetry.analysis_dropped.collect() for s in m.samples if s.labels["limit"] == "outside_links")
    assert counter == 2


def test_links_to_many_absent_traces_do_not_search_all_spans_each() -> None:
    crowd = many(300, "web SERVER a", "web INTERNAL b<a")
    seen = look([*crowd, *[f"billing CONSUMER c{n}:k ->gone{n}:p" for n in range(300)]])
    assert {k: v for k, v in seen.edges.items() if k[1] == "billing"} == {}


# ---------------------------------------------------------------------- what is counted beside calls


def test_halves_without_the_other_are_counted_once_each() -> None:
    seen = look(["web CLIENT one:a", "web PRODUCER two:a", "cart SERVER three:b<x", "billing CONSUMER four:k<x", "web CLIENT five:a peer=bank"])
    assert seen.unpaired == {("web", ""): 2, ("", "cart"): 1, ("", "billing"): 1}


def test_a_receiving_client_is_no_half_of_anything() -> None:
    assert look(["billing CLIENT a msg=kafka op=receive"]).unpaired == {}


def test_one_name_in_two_namespaces_is_two_nodes() -> None:
    seen = look(["shop/web CLIENT one:a", "shop/cart SERVER one:b<a", "test/web CLIENT two:a", "test/cart SERVER two:b<a"])
    keys = {(k.client_namespace, k.client, k.server_namespace, k.server): c.calls for k, c in seen.outcome.edges.items()}
    assert keys == {("shop", "web", "shop", "cart"): 1, ("test", "web", "test", "cart"): 1}


def test_durations_are_those_of_each_half_and_a_negative_one_is_left_out() -> None:
    seen = look(["web CLIENT one:a ~300ms", "cart SERVER one:b<a ~150ms", "web CLIENT two:a ~-5ms", "cart SERVER two:b<a ~150ms"])
    (counts,) = (c for c in seen.outcome.edges.values() if c.calls)
    assert (counts.client_seconds.count, counts.server_seconds.count) == (1, 2)
    assert counts.client_seconds.sum_seconds == pytest.approx(0.3)
    assert counts.server_seconds.buckets[:3] == (0, 2, 0)
    assert counts.client_seconds.buckets[:3] == (0, 0, 1)


def test_a_message_takes_from_the_end_of_producing_to_the_start_of_consuming() -> None:
    lines = ["shop PRODUCER one:p +0s ~1s", "billing CONSUMER one:k<p +4s", "billing CONSUMER one:l<p +500ms", "billing CONSUMER two:m ->long-ago:q +9s"]
    counts = look(lines, Elsewhere("shop PRODUCER long-ago:q +0s ~1s")).outcome.edges
    (one,) = (c.messaging_seconds for c in counts.values() if c.calls)
    assert one.count == 2  # the one that began before the producer ended is left out
    assert one.sum_seconds == pytest.approx(3 + 8)


def test_a_name_that_is_learned_in_one_pass_is_known_in_the_next() -> None:
    seen = look(["web CLIENT one:a addr=10.0.0.7", "cart SERVER one:b<a"])
    assert seen.passes.meaning().aliases == {"10.0.0.7": "cart"}
    outcome = seen.passes.run(spans("mail CLIENT two:a addr=10.0.0.7", "mail CLIENT three:a peer=cart").settled(), NOW)
    assert {(k.client, k.server, str(k.connection_type)): c.calls for k, c in outcome.edges.items()} == {("mail", "cart", ""): 2}
    ambiguous = seen.passes.run(spans("web CLIENT four:a addr=10.0.0.7", "stock SERVER four:b<a", "web CLIENT five:a addr=10.0.0.7").settled(), NOW)
    assert ("web", "10.0.0.7") in {(k.client, k.server) for k in ambiguous.edges}
    assert seen.passes.meaning().aliases == {}
