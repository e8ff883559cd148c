"""Stored rows come back as what the sender meant."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fake_views import NOW_NANO, span, spans

from traced.api.answers import json_response
from traced.api.spans import key_values_as_json, spans_as_json, typed_value
from traced.model.span import AttributeType


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (AttributeType.STRING, "7", "7"),
        (AttributeType.INT, "9007199254740993", 9007199254740993),
        (AttributeType.INT, "-1", -1),
        (AttributeType.BOOL, "true", True),
        (AttributeType.BOOL, "false", False),
        (AttributeType.DOUBLE, "0.5", 0.5),
        (AttributeType.DOUBLE, "NaN", "NaN"),
        (AttributeType.DOUBLE, "-Infinity", "-Infinity"),
        (AttributeType.ARRAY, '["a",1,true]', ["a", 1, True]),
        (AttributeType.KVLIST, '{"a":{"b":[]}}', {"a": {"b": []}}),
        (AttributeType.BYTES, "AP8=", "AP8="),
        (AttributeType.EMPTY, "", None),
        (AttributeType.STRING, None, None),
        (AttributeType.INT, "not a number", "not a number"),
        (AttributeType.ARRAY, "[1, 2, …cut", "[1, 2, …cut"),
        (AttributeType.ARRAY, "[" * 60_000, "[" * 60_000),
        (99, "of a later version", "of a later version"),
    ],
)
def test_an_attribute_value_has_its_own_type_back(kind: int, text: str | None, value: Any):
    assert typed_value(kind, text) == value
    assert type(typed_value(kind, text)) is type(value)


def test_resource_attributes_are_read_from_otlp_json():
    pairs = [
        {"key": "a", "value": {"stringValue": "x"}},
        {"key": "b", "value": {"intValue": "9007199254740993"}},
        {"key": "c", "value": {"arrayValue": {"values": [{"boolValue": True}, {"kvlistValue": {"values": [{"key": "k", "value": {"doubleValue": 1.5}}]}}]}}},
        {"key": "a", "value": {"stringValue": "a repeated key"}},
        {"key": "d", "value": {}},
    ]
    assert key_values_as_json(json.dumps(pairs)) == {"a": "x", "b": 9007199254740993, "c": [True, {"k": 1.5}], "d": None}


@pytest.mark.parametrize("text", [None, "", "[", "{}", "7", '[1, {"key": 2}]', "[" * 100_000])
def test_text_that_is_no_attribute_list_gives_none(text: str | None):
    assert key_values_as_json(text) == {}


def test_a_span_shows_its_ids_as_hex_and_its_enums_by_name():
    event = {"time_unix_nano": 7, "name": "exception", "attributes": [{"key": "n", "type": 3, "value": "1"}], "dropped_attributes_count": 0}
    link = {
        "trace_id_high": 2**64 - 1,
        "trace_id_low": 1,
        "span_id": 255,
        "trace_state": "",
        "flags": 1,
        "attributes": [],
        "dropped_attributes_count": 0,
    }
    row = span(0xAB, parent=1, kind=2, status_code=2, status_message="no", events=[event], links=[link], trace_id_high=2**63)
    (shown,) = spans_as_json(spans(row))
    assert shown["trace_id"] == "80000000000000000000000000000abc"
    assert (shown["span_id"], shown["parent_span_id"]) == ("00000000000000ab", "0000000000000001")
    assert (shown["kind"], shown["status"]) == ("SERVER", {"code": "ERROR", "message": "no"})
    assert shown["events"][0]["attributes"] == {"n": 1}
    assert (shown["links"][0]["trace_id"], shown["links"][0]["span_id"]) == ("ffffffffffffffff0000000000000001", "00000000000000ff")
    assert (shown["duration_nano"], shown["start_time_unix_nano"]) == (5_000_000, NOW_NANO + 0xAB)
    assert spans_as_json(spans(span(1)))[0]["parent_span_id"] == ""


def test_a_span_of_no_service_has_the_name_that_it_has_everywhere_else():
    (shown,) = spans_as_json(spans(span(1, service_name="")))
    assert shown["service_name"] == "unknown_service"


def test_clocks_at_both_ends_of_int64_and_unknown_kinds_are_shown():
    row = span(1, kind=77, start_time_unix_nano=-(2**63), end_time_unix_nano=2**63 - 1)
    (shown,) = spans_as_json(spans(row))
    assert shown["kind"] == "77"
    assert shown["start_time"].startswith("1677-09-21T")
    assert shown["duration_nano"] == 2**64 - 1


def test_json_has_no_nan_and_no_lone_surrogate():
    content = {"a": [float("nan"), float("inf")], "b": {"c": "\ud800"}, "d": b"\xff"}
    assert json.loads(json_response(content).body) == {"a": ["NaN", "Infinity"], "b": {"c": "?"}, "d": "/w=="}
