"""What is too much is cut, what is unusual is read as OTLP says, and every change is counted as often as it was made."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from decode_parts import REPLACED, SPAN_ID, TRACE_ID, decoded, delimited, pair, request_of, request_of_raw, span
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from otlp_reference import expected_spans, rows_of

from traced.receiver.decode import decode_logs, decode_traces
from traced.receiver.json_requests import logs_from_json, traces_from_json
from traced.receiver.wire import Limits

# ---------------------------------------------------------------------------- limits


def values_of(*pairs: KeyValue, count: int = 1) -> tuple[list[tuple[str, str]], dict[str, int]]:
    """Give the stored attributes of the first of so many equal spans, and what was altered."""
    batch = decoded(request_of(*(span(attributes=pairs) for _ in range(count))))
    return [(a["key"], a["value"]) for a in rows_of(batch)[0]["attributes"]], batch.altered


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("x" * 4096, "x" * 4096),
        ("x" * 4097, "x" * 4093 + "…"),
        ("é" * 2048, "é" * 2048),
        ("é" * 2049, "é" * 2046 + "…"),
        ("x" + "é" * 2048, "x" + "é" * 2046 + "…"),
        ("\U0001f600" * 1024, "\U0001f600" * 1024),
        ("x" + "\U0001f600" * 1024, "x" + "\U0001f600" * 1023 + "…"),
        ("\ufffd" * 1366, "\ufffd" * 1364 + "…"),
    ],
)
def test_a_value_over_4_kib_is_cut_at_a_character(text: str, kept: str) -> None:
    stored, altered = values_of(pair("k", string_value=text), count=3)
    assert stored == [("k", kept)]
    assert len(kept.encode()) <= 4096
    assert altered == ({} if kept == text else {"attribute_value_cut": 3})


def test_text_that_grows_over_the_limit_by_replacement_is_cut_and_both_are_counted() -> None:
    body = request_of(span(name="x" * 2000)).SerializeToString().replace(b"x" * 2000, b"\xff" * 2000)
    batch = decode_traces(body, Limits())
    assert rows_of(batch)[0]["name"] == REPLACED * 1364 + "…"
    assert batch.altered == {"invalid_utf8": 1, "name_cut": 1}


def test_a_key_over_256_bytes_is_cut_at_a_character() -> None:
    assert values_of(pair("k" * 256, int_value=1)) == ([("k" * 256, "1")], {})
    assert values_of(pair("é" * 129, int_value=1), count=2) == ([("é" * 126 + "…", "1")], {"attribute_key_cut": 2})


def test_bytes_are_cut_to_whole_base64_below_the_limit() -> None:
    stored, altered = values_of(pair("k", bytes_value=bytes(3072)))
    assert (stored, altered) == ([("k", "A" * 4096)], {})
    assert values_of(pair("k", bytes_value=bytes(3073)), count=4) == (stored, {"attribute_value_cut": 4})


def test_a_long_array_becomes_a_json_string_of_its_beginning() -> None:
    elements = [AnyValue(string_value='"quoted\\" ü')] * 600
    stored, altered = values_of(KeyValue(key="k", value=AnyValue(array_value={"values": elements})), count=2)
    text = json.loads(stored[0][1])
    assert isinstance(text, str)
    whole = json.dumps(['"quoted\\" ü'] * 600, ensure_ascii=False, separators=(",", ":"))
    assert len(text) > 1500
    assert text.endswith("…")
    assert whole.startswith(text[:-1])
    assert len(stored[0][1].encode()) <= 4096
    assert altered == {"attribute_value_cut": 2}


@pytest.mark.parametrize(("count", "excess"), [(128, 0), (129, 1), (300, 172)])
def test_attributes_events_and_links_over_128_are_dropped_and_counted_one_by_one(count: int, excess: int) -> None:
    pairs = [pair(f"k{n}", int_value=n) for n in range(count)]
    crowded = span(
        attributes=pairs,
        events=[Span.Event(name=f"e{n}", attributes=pairs if n == 0 else []) for n in range(count)],
        links=[Span.Link(flags=n, attributes=pairs if n == 0 else []) for n in range(count)],
        dropped_attributes_count=5,
        dropped_events_count=2**32 - 1,
        dropped_links_count=7,
    )
    batch = decoded(request_of(span(), crowded, span()))
    row = rows_of(batch)[1]
    assert [a["key"] for a in row["attributes"]] == [f"k{n}" for n in range(count - excess)]
    assert [e["name"] for e in row["events"]] == [f"e{n}" for n in range(count - excess)]
    assert [x["flags"] for x in row["links"]] == list(range(count - excess))
    assert (row["dropped_attributes_count"], row["dropped_events_count"], row["dropped_links_count"]) == (5 + excess, 2**32 - 1, 7 + excess)
    assert row["events"][0]["dropped_attributes_count"] == row["links"][0]["dropped_attributes_count"] == excess
    assert batch.altered == ({"attributes_cut": 3 * excess, "events_cut": excess, "links_cut": excess} if excess else {})
    assert [rows_of(batch)[n]["attributes"] for n in (0, 2)] == [[], []]


def test_a_resource_may_have_256_attributes_and_a_cut_counts_for_each_time_it_stands_there() -> None:
    request = ExportTraceServiceRequest()
    for _ in range(3):
        resource_spans = request.resource_spans.add()
        resource_spans.resource.attributes.extend(pair(f"k{n}", string_value="x" * 5000 if n == 0 else "") for n in range(259))
        resource_spans.scope_spans.add().spans.append(span())
    batch = decoded(request)
    assert batch.resources.num_rows == 1
    row = rows_of(batch)[0]
    assert len(row["resource_attributes"]) == 256
    assert row["resource_dropped_attributes_count"] == 3
    assert batch.altered == {"attributes_cut": 9, "attribute_value_cut": 3}


@pytest.mark.parametrize("kind", ["array", "map", "both"])
@pytest.mark.parametrize(("depth", "bottom"), [(32, "bottom"), (33, "…"), (60, "…")])
def test_values_are_kept_to_a_depth_of_32_and_an_ellipsis_stands_for_what_is_deeper(kind: str, depth: int, bottom: str) -> None:
    raw: bytes = AnyValue(string_value="bottom").SerializeToString()
    plain: Any = {"stringValue": "bottom"}
    for level in range(depth):
        if kind == "array" or (kind == "both" and level % 2):
            raw, plain = delimited(5, delimited(1, raw)), {"arrayValue": {"values": [plain]}}
        else:
            raw, plain = delimited(6, delimited(1, delimited(1, b"k") + delimited(2, raw))), {"kvlistValue": {"values": [{"key": "k", "value": plain}]}}
    shallow = pair("k", string_value="bottom")
    item = span().SerializeToString() + delimited(9, delimited(1, b"deep") + delimited(2, raw)) + delimited(9, shallow.SerializeToString())
    attributes = [{"key": "deep", "value": plain}, {"key": "k", "value": {"stringValue": "bottom"}}]
    one = {"traceId": TRACE_ID.hex(), "spanId": SPAN_ID.hex(), "attributes": attributes}
    text = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [one, one]}]}]}).encode()
    for body in (request_of_raw(item, item), traces_from_json(text)[0]):
        batch = decode_traces(body, Limits())
        deep, other = rows_of(batch)[0]["attributes"]
        assert deep["value"].count("[") + deep["value"].count("{") == 32
        assert f'"{bottom}"' in deep["value"]
        assert other["value"] == "bottom", "what lies too deep in one place is right in another"
        assert batch.altered == ({} if depth == 32 else {"value_too_deep": 2})


def test_a_body_may_have_32_kib() -> None:
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for size in (32_768, 32_769, 100_000):
        records.add().body.string_value = "x" * size
    records.add().body.bytes_value = bytes(24_577)
    batch = decode_logs(request.SerializeToString(), Limits())
    assert [len(row["body"].encode()) for row in rows_of(batch)] == [32_768] * 4
    assert batch.altered == {"body_cut": 3}


LONG = "é" * 3000


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda r: setattr(r.scope_spans[0].spans[0], "name", LONG), "name"),
        (lambda r: setattr(r.scope_spans[0].spans[0], "trace_state", LONG), "trace_state"),
        (lambda r: setattr(r.scope_spans[0].spans[0].status, "message", LONG), "status_message"),
        (lambda r: setattr(r.scope_spans[0].scope, "name", LONG), "scope"),
        (lambda r: setattr(r.scope_spans[0].scope, "version", LONG), "scope"),
        (lambda r: setattr(r.scope_spans[0], "schema_url", LONG), "schema_url"),
        (lambda r: setattr(r, "schema_url", LONG), "schema_url"),
    ],
)
def test_every_other_text_is_cut_to_4_kib_too(change: Callable[[Any], None], reason: str) -> None:
    request = request_of(span())
    change(request.resource_spans[0])
    batch = decoded(request)
    assert LONG[:2046] + "…" in rows_of(batch)[0].values()
    assert batch.altered == {f"{reason}_cut": 1}


# ---------------------------------------------------------------------------- times, numbers, oneofs


def test_times_above_what_is_stored_are_clamped_one_by_one() -> None:
    late = Span.Event(time_unix_nano=2**63)
    batch = decoded(request_of(span(), span(start_time_unix_nano=2**64 - 1, end_time_unix_nano=2**63, events=[late]), span(end_time_unix_nano=2**63 - 1)))
    rows = rows_of(batch)
    assert [(row["start_time_unix_nano"], row["end_time_unix_nano"]) for row in rows] == [(0, 0), (2**63 - 1, 2**63 - 1), (0, 2**63 - 1)]
    assert rows[1]["events"][0]["time_unix_nano"] == 2**63 - 1
    assert batch.altered == {"time_clamped": 3}


def test_enum_numbers_that_nobody_knows_yet_are_kept_up_to_one_byte() -> None:
    kinds = (0, 5, 6, 254, 255, 256, 2**31 - 1, -1)
    batch = decoded(request_of(*(span(kind=kind, status={"code": kind}) for kind in kinds)))
    assert [(row["kind"], row["status_code"]) for row in rows_of(batch)] == [(k, k) for k in (0, 5, 6, 254, 255, 255, 255, 255)]
    assert batch.rejected == {}


def test_string_indices_are_read_as_empty_and_counted_wherever_they_stand() -> None:
    indexed = [
        KeyValue(key_strindex=4, value=AnyValue(string_value="v")),
        KeyValue(key="a", value=AnyValue(string_value_strindex=0)),
        KeyValue(key="b", value=AnyValue(array_value={"values": [AnyValue(string_value_strindex=1)] * 2})),
        KeyValue(key="c", value=AnyValue(kvlist_value={"values": [KeyValue(key_strindex=1)]})),
    ]
    stored, altered = values_of(*indexed, count=5)
    assert stored == [("", "v"), ("a", ""), ("b", "[null,null]"), ("c", '{"":null}')]
    assert altered == {"strindex": 20}


def test_of_several_members_of_one_value_the_last_counts_as_in_protobuf() -> None:
    text, number, nothing = AnyValue(string_value="x"), AnyValue(int_value=-3), AnyValue()
    array = AnyValue(array_value={"values": [AnyValue(bool_value=True)]})
    index = AnyValue(string_value_strindex=2)
    orders = [(text, number), (number, text), (nothing, text, array), (array, nothing, text), (number, array, number), (text, index), (index, text)]
    items, expected = [], []
    for order in orders:
        merged = b"".join(value.SerializeToString() for value in order) + b"\xa3\x06\x08\x01\xa4\x06"
        raw = delimited(1, b"k") + delimited(2, merged)
        split = delimited(2, order[0].SerializeToString()) + delimited(1, b"k") + b"".join(delimited(2, v.SerializeToString()) for v in order[1:])
        for one in (raw, split):
            items.append(span().SerializeToString() + delimited(9, one))
            last = KeyValue.FromString(one).value.WhichOneof("value")
            expected.append({"string_value": "x", "int_value": "-3", "array_value": "[true]", "string_value_strindex": ""}[str(last)])
    batch = decode_traces(request_of_raw(*items), Limits())
    assert [row["attributes"][0]["value"] for row in rows_of(batch)] == expected
    assert batch.altered == {"strindex": 2}
    bodies = decode_logs(request_of_raw(*(delimited(5, b"".join(v.SerializeToString() for v in order)) for order in orders)), Limits())
    assert [row["body"] for row in rows_of(bodies)] == expected[::2]


def test_a_field_of_another_wire_type_is_unknown_and_ignored() -> None:
    item = span(name="kept").SerializeToString() + b"\x28\x05" + b"\x3a\x01x" + b"\x48\x07"
    row = rows_of(decode_traces(request_of_raw(item), Limits()))[0]
    assert (row["name"], row["start_time_unix_nano"], row["attributes"]) == ("kept", 0, [])
    wrong_inside = delimited(9, delimited(1, b"k") + delimited(2, delimited(5, delimited(1, b"\x1a\x01x") + b"\x08\x05")))
    row = rows_of(decode_traces(request_of_raw(span().SerializeToString() + wrong_inside), Limits()))[0]
    assert row["attributes"] == [{"key": "k", "type": 5, "value": "[null]"}]


def test_a_repeated_key_is_stored_each_time_and_the_first_is_the_one_that_counts() -> None:
    request = request_of(span(attributes=[pair("http.route", string_value="/a"), pair("http.route", string_value="/b"), pair("http.route", int_value=1)]))
    request.resource_spans[0].resource.attributes.extend([pair("service.name", string_value="first"), pair("service.name", string_value="second")])
    nested = KeyValue(key="m", value=AnyValue(kvlist_value={"values": [pair("k", int_value=1), pair("k", int_value=2)]}))
    request.resource_spans[0].scope_spans[0].spans[0].attributes.append(nested)
    row = rows_of(decoded(request))[0]
    assert [a["value"] for a in row["attributes"]] == ["/a", "/b", "1", '{"k":1}']
    assert (row["http_route"], row["service_name"]) == ("/a", "first")
    assert len(row["resource_attributes"]) == 2


# ---------------------------------------------------------------------------- nothing, and much


@pytest.mark.parametrize("body", [b"", delimited(1, b""), delimited(1, delimited(2, b"")) * 3, b"\xa2\x06\x01x"])
def test_a_request_of_nothing_is_an_empty_batch(body: bytes) -> None:
    for decode in (decode_traces, decode_logs):
        batch = decode(body, Limits())
        assert (batch.items.num_rows, batch.received, batch.rejected, batch.altered) == (0, 0, {}, {})


@pytest.mark.parametrize(
    "body", [b"{}", b'{"resourceSpans":[{}]}', b'{"resourceLogs":[{"scopeLogs":[{}]}]}', b'{"resourceSpans":[{"scopeSpans":[{"spans":[]}]}]}']
)
def test_a_json_request_of_nothing_is_an_empty_batch(body: bytes) -> None:
    assert decode_traces(traces_from_json(body)[0], Limits()).items.num_rows == 0
    assert decode_logs(logs_from_json(body)[0], Limits()).items.num_rows == 0


def test_a_request_larger_than_a_slice_gives_the_same_rows() -> None:
    crowded = span(attributes=[pair(f"k{n}", string_value="x" * 100) for n in range(200)], events=[Span.Event(name="e")] * 130, links=[Span.Link()])
    request = request_of(*([crowded, span(trace_id=b"\x01"), span(name="plain")] * 400))
    assert len(request.SerializeToString()) > 2 * 4 * 2**20
    batch, expected = decoded(request), expected_spans(request)
    assert (batch.rejected, batch.altered) == (expected.rejected, expected.altered)
    assert rows_of(batch) == expected.rows
