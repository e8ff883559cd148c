"""By which version of a schema a message, or a call, is: which source answers, and what it is worth."""

from __future__ import annotations

import pytest
from message_cases import look

from traced.model.migration import Migration, Shape, Side
from traced.model.schema_rules import SchemaRules

TWO = SchemaRules.of(
    [
        Migration("orders", Shape.TWO_DESTINATIONS, Side(("orders",), versions=("1", "v1")), Side(("orders.new",), versions=("2",)), system="kafka"),
        Migration(
            "bills",
            Shape.TWO_MESSAGES,
            Side(("bills.v7",), versions=("old",)),
            Side(("bills.v7",), versions=("new",)),
            version_attributes=("bill.format", "messaging.header.x-format", "destination"),
            disposition_attribute="bill.what",
        ),
    ]
)
CALLS = SchemaRules.of(
    [
        Migration("api", Shape.TWO_DESTINATIONS, Side(routes=("/v1/carts",), versions=("1",)), Side(routes=("/v2/carts",), versions=("2",)), system="http"),
        Migration(
            "rpc",
            Shape.TWO_MESSAGES,
            Side(routes=("shop.Cart/Get",), versions=("a",)),
            Side(routes=("shop.Cart/Get",), versions=("b",)),
            version_attributes=("http.request.header.api-version",),
        ),
    ]
)


def version(words: str, rules: SchemaRules = TWO, **more: str) -> tuple[str, str, str]:
    rows, _ = look([f"bill CONSUMER c {words}", *more.values()], rules=rules)
    (row,) = [r for r in rows if r["role"] == "consumer"]
    return row["message_schema_version"], row["version_source"], row["version_key"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("msg=kafka dest=t v=3", ("3", "attribute", "message.schema.version")),
        ("""msg=kafka dest=t 'messaging.header.schema_version=["3"]'""", ("3", "header", "messaging.header.schema_version")),
        ("""msg=kafka dest=t 'messaging.header.schema-version=["3"]'""", ("3", "header", "messaging.header.schema-version")),
        ("""msg=kafka dest=t 'messaging.header.ce_type=["com.shop.order.v3"]'""", ("3", "header", "messaging.header.ce_type")),
        ("msg=kafka dest=t cloudevents.event_type=com.shop.order.v3", ("3", "cloudevents", "cloudevents.event_type")),
        ("msg=kafka dest=t.v3", ("3", "destination", "messaging.destination.name")),
        ("msg=kafka dest=t-v3 v=3", ("3", "attribute", "message.schema.version")),
        ("msg=kafka dest=t", ("", "", "")),
        ("msg=kafka dest=t cloudevents.event_spec_version=1.0", ("", "", "")),
        ("msg=kafka dest=t.v3 v=4", ("", "", "message.schema.version=4, messaging.destination.name=3")),
        (
            """msg=kafka dest=t 'messaging.header.schema-version=["3","4"]'""",
            ("", "", "messaging.header.schema-version=3, messaging.header.schema-version=4"),
        ),
        # what a migration says of its destinations and spellings
        ("msg=kafka dest=orders", ("1", "destination", "messaging.destination.name")),
        ("msg=kafka dest=orders v=v1", ("1", "attribute", "message.schema.version")),
        ("msg=kafka dest=orders v=2", ("", "", "message.schema.version=2, messaging.destination.name=1")),
        ("msg=kafka dest=orders.new", ("2", "destination", "messaging.destination.name")),
        ("msg=rabbitmq dest=orders", ("", "", "")),
        ("msg=kafka dest=bills.v7 bill.format=old", ("old", "attribute", "bill.format")),
        ("""msg=kafka dest=bills.v7 'messaging.header.x_format=["new"]'""", ("new", "header", "messaging.header.x_format")),
        ("msg=kafka dest=bills.v7 v=3", ("", "", "")),
    ],
)
def test_the_first_source_answers_and_those_that_disagree_make_it_unknown(words, expected):
    assert version(words) == expected


def test_a_publication_hands_its_version_down_and_a_tombstone_has_none():
    lines = ["shop PRODUCER p msg=kafka dest=t op=send v=3", "bill CONSUMER c<p msg=kafka dest=t op=process"]
    assert [(r["role"], r["message_schema_version"], r["version_source"]) for r in look(lines)[0]] == [
        ("producer", "3", "attribute"),
        ("consumer", "3", "inherited"),
    ]
    lines[1] += " messaging.kafka.message.tombstone=true"
    assert [r["message_schema_version"] for r in look(lines)[0]] == ["3", ""]


def test_versions_on_links_are_of_each_message_of_a_batch_and_disagreement_is_not_inherited_over():
    lines = [
        *(f"shop PRODUCER a{n}:p msg=kafka dest=t op=send v=9" for n in range(3)),
        "bill CONSUMER b:c msg=kafka dest=t op=process v=1 ->a0:p[v=1] ->a1:p[v=2] ->a2:p",
    ]
    rows = [r for r in look(lines)[0] if r["role"] == "consumer"]
    assert [(r["message_schema_version"], r["version_source"]) for r in rows] == [("1", "link"), ("", ""), ("1", "attribute")]
    assert rows[1]["version_key"] == "message.schema.version=2, message.schema.version=1"


def test_what_a_consumer_did_with_it():
    rows, _ = look(["bill CONSUMER c msg=kafka dest=t v=1 message.schema.disposition=ignored"])
    assert rows[0]["disposition"] == "ignored"
    rows, _ = look(["bill CONSUMER c msg=kafka dest=t v=1 message.schema.disposition=perhaps"])
    assert rows[0]["disposition"] == ""


# ---------------------------------------------------------------------- calls


def of_calls(*lines: str) -> list[tuple[str, ...]]:
    rows, _ = look(lines, rules=CALLS)
    names = ("role", "service_name", "producer_name", "destination", "producer_destination", "message_schema_version")
    return sorted(tuple(r[name] for name in names) for r in rows)


def test_who_calls_is_the_consumer_and_who_answers_the_producer():
    assert of_calls("web CLIENT a", "cart SERVER b<a route=/v1/carts/{id}", "web CLIENT c<a", "cart SERVER d<c route=/health") == [
        ("consumer", "web", "cart", "cart", "/v1/carts", "1"),
        ("producer", "cart", "cart", "cart", "/v1/carts", "1"),
    ]


def test_a_caller_that_is_not_here_has_no_name_and_who_never_answers_has_none_either():
    assert of_calls("cart SERVER b url.path=/v2/carts") == [
        ("consumer", "", "cart", "cart", "/v2/carts", "2"),
        ("producer", "cart", "cart", "cart", "/v2/carts", "2"),
    ]
    assert of_calls("web CLIENT b url.full=https://cart.example/v1/carts/7?x=1") == [("consumer", "web", "", "", "/v1/carts", "1")]
    assert of_calls("web CLIENT b url.full=https://cart.example/v1/carts-archive") == []


def test_a_header_of_either_side_says_the_version_of_a_call():
    served = "cart SERVER b<a rpc.service=shop.Cart rpc.method=Get"
    assert {row[-1] for row in of_calls("web CLIENT a", served)} == {""}
    assert of_calls("web CLIENT a", """cart SERVER b<a rpc.service=shop.Cart rpc.method=Get 'http.request.header.api-version=["b"]'""")[0][-1] == "b"
    caller = """web CLIENT a 'http.request.header.api-version=["b"]'"""
    assert [row[-1] for row in of_calls(caller, served)] == ["b", "b"]


def test_the_two_messages_of_a_dual_publish_are_two_also_with_one_business_key():
    rules = SchemaRules.of(
        [Migration("o", Shape.TWO_MESSAGES, Side(("t",), versions=("1",)), Side(("t",), versions=("2",)), business_key_attribute="bill.what")]
    )
    lines = [f"bill CONSUMER c{n} msg=kafka dest=t v={version} bill.what=order-7" for n, version in enumerate(("1", "2", "2"))]
    rows, flows = look(lines, rules=rules)
    assert {row["identity"] for row in rows} == {"order-7"}
    assert sorted((row["message_schema_version"], row["messages"]) for row in rows) == [("1", 1), ("2", 0), ("2", 1)]
    assert sorted((row["message_schema_version"], row["messages"], row["traces"]) for row in flows.to_pylist()) == [("1", 1, 1), ("2", 1, 1)]
