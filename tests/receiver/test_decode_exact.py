"""What is wrong costs itself and nothing else, and every change is counted as often as it was made."""

from __future__ import annotations

import json
from typing import Any

import pytest
from decode_parts import REPLACED, SPAN_ID, TRACE_ID, decoded, delimited, pair, request_of, request_of_raw, span
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from otlp_reference import Row, expected_logs, expected_spans, rows_of
from receiver_parts import trace_json

from traced.receiver.decode import decode_logs, decode_traces
from traced.receiver.json_requests import traces_from_json
from traced.receiver.wire import Limits

# ---------------------------------------------------------------------------- invalid items


INVALID_IDS = {
    "invalid_trace_id": [{"trace_id": wrong} for wrong in (b"", bytes(16), b"\x01", bytes(range(15)), bytes(range(17)), bytes(range(32)))],
    "invalid_span_id": [{"span_id": wrong} for wrong in (b"", bytes(8), b"\x01", bytes(range(7)), bytes(range(9)), bytes(range(16)))],
    "invalid_parent_span_id": [{"parent_span_id": wrong} for wrong in (b"\x01", bytes(7), bytes(range(9)), bytes(range(16)))],
}
MALFORMED = (
    b"\x0a",
    b"\x0a\x10abc",
    b"\xff",
    b"\x0f",
    b"\x00\x01",
    b"\x39\x01\x02",
    b"\x7a\x02\x12\x09",
    b"\x0a" + b"\xff" * 9 + b"\x01",
    b"\x4a" + b"\xf7" + b"\xff" * 8 + b"\x7f",
    b"\xa3\x06",
    b"\x0c",
)
"""Cut short, lengths beyond the end, wire type 7, field 0, half a number, a broken status, lengths near 2**64, groups without end."""


@pytest.mark.parametrize("place", [0, 1, 500, 998])
def test_each_invalid_span_costs_itself_and_is_counted_under_the_first_thing_wrong(place: int) -> None:
    good = [span(span_id=(n + 1).to_bytes(8, "big"), name=f"span {n}").SerializeToString() for n in range(1000)]
    items, expected = list(good), dict.fromkeys([*INVALID_IDS, "malformed"], 0)
    for reason, wrongs in INVALID_IDS.items():
        for wrong in wrongs:
            items.insert(place, span(name="bad", **wrong).SerializeToString())
            expected[reason] += 1
    for raw in MALFORMED:
        items.insert(place, raw)
        expected["malformed"] += 1
    items.append(span(trace_id=b"", span_id=b"", parent_span_id=b"\x01").SerializeToString())
    expected["invalid_trace_id"] += 1
    batch = decode_traces(request_of_raw(*items), Limits())
    assert batch.rejected == expected
    assert batch.received == len(items)
    assert rows_of(batch) == rows_of(decode_traces(request_of_raw(*good), Limits()))


def test_spans_keep_their_resource_and_scope_when_a_neighbour_is_dropped() -> None:
    request = ExportTraceServiceRequest()
    for service in "abc":
        resource_spans = request.resource_spans.add()
        resource_spans.resource.attributes.append(pair("service.name", string_value=service))
        for scope in "xy":
            scope_spans = resource_spans.scope_spans.add()
            scope_spans.scope.name = scope
            scope_spans.spans.append(span(trace_id=b"", name="bad"))
            scope_spans.spans.append(span(name=f"{service}{scope}"))
    rows = rows_of(decoded(request))
    assert [(row["service_name"] + row["scope_name"], row["name"]) for row in rows] == [(s, s) for s in ("ax", "ay", "bx", "by", "cx", "cy")]


def test_what_is_wrong_in_a_rejected_span_is_not_counted_as_stored_with_a_change() -> None:
    wrong: dict[str, Any] = {
        "name": "n" * 5000,
        "start_time_unix_nano": 2**64 - 1,
        "attributes": [pair("k" * 300, string_value="v" * 5000)] * 200,
        "events": [Span.Event(name="n" * 5000)] * 200,
    }
    batch = decoded(request_of(span(span_id=b"", **wrong), span()))
    assert (batch.rejected, batch.altered) == ({"invalid_span_id": 1}, {})
    assert batch.attributes.num_rows == 0
    assert decoded(request_of(span(**wrong))).altered


@pytest.mark.parametrize("raw", [raw for raw in MALFORMED if raw[0] != 0x7A])
def test_a_broken_log_record_costs_itself(raw: bytes) -> None:
    batch = decode_logs(request_of_raw(b"\x1a\x04warn", raw, b"\x1a\x04info"), Limits())
    assert batch.rejected == {"malformed": 1}
    assert [row["severity_text"] for row in rows_of(batch)] == ["warn", "info"]


@pytest.mark.parametrize("raw", MALFORMED)
def test_a_broken_part_of_a_sound_span_is_kept_empty_and_counted(raw: bytes) -> None:
    start = span(name="kept").SerializeToString()
    sound = pair("k", string_value="v").SerializeToString()
    for field, reason in ((9, "malformed_attribute"), (11, "malformed_event"), (13, "malformed_link")):
        parts = [b"", raw, sound] if field == 9 else [b"", raw, b""]
        body = request_of_raw(start + b"".join(delimited(field, part) for part in parts), start + delimited(field, raw))
        batch = decode_traces(body, Limits())
        # a broken attribute of a span may still be a sound event: only what really is broken counts
        assert batch.items.num_rows == 2
        assert batch.rejected == {}
        if reason in batch.altered:
            assert batch.altered == {reason: 2}
            row = rows_of(batch)[0]
            kept = row["attributes"] if field == 9 else row["events"] if field == 11 else row["links"]
            assert len(kept) == 3
            assert kept[1] == kept[0]
    resource = delimited(1, delimited(1, raw) + delimited(2, delimited(1, raw) + delimited(2, start)))
    batch = decode_traces(resource + resource, Limits())
    assert [row["name"] for row in rows_of(batch)] == ["kept", "kept"]
    assert set(batch.altered) <= {"malformed_resource", "malformed_scope"}
    assert set(batch.altered.values()) <= {2}


def test_a_log_record_without_valid_ids_is_stored_and_not_associated() -> None:
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for trace_id, span_id in ((b"", b""), (bytes(16), SPAN_ID), (b"\x01", SPAN_ID), (TRACE_ID, b"\x01"), (TRACE_ID, bytes(8)), (TRACE_ID, SPAN_ID)):
        records.add(trace_id=trace_id, span_id=span_id)
    batch = decode_logs(request.SerializeToString(), Limits())
    low, own = int.from_bytes(TRACE_ID[8:], "big"), int.from_bytes(SPAN_ID, "big")
    assert [(row["trace_id_low"], row["span_id"]) for row in rows_of(batch)] == [(0, 0), (0, 0), (0, 0), (low, 0), (low, 0), (low, own)]
    assert batch.rejected == {}


# ---------------------------------------------------------------------------- invalid UTF-8


MARK, BROKEN, REPAIRED = b"@BAD@", b"@\xffAD@", f"@{REPLACED}AD@"


def _mark(request: Any, where: str) -> None:
    """Put the mark into one place of a trace or log request."""
    envelope = (getattr(request, "resource_spans", None) or request.resource_logs)[0]
    scope = (envelope.scope_spans if hasattr(envelope, "scope_spans") else envelope.scope_logs)[0]
    item = (scope.spans if hasattr(scope, "spans") else scope.log_records)[0]
    text = MARK.decode()
    owners = {"resource": envelope.resource, "scope": scope.scope, "item": item}
    if hasattr(item, "events"):
        owners |= {"event": item.events[0], "link": item.links[0]}
    kind, _, member = where.partition(".")
    if kind == "schema_url":
        (envelope if member == "resource" else scope).schema_url = text
    elif member == "key":
        owners[kind].attributes.add(key=text).value.int_value = 1
    elif member == "value":
        owners[kind].attributes.add(key="k").value.string_value = text
    elif member == "array":
        owners[kind].attributes.add(key="k").value.array_value.values.add(string_value=text)
    elif member == "map":
        owners[kind].attributes.add(key="k").value.kvlist_value.values.add(key=text)
    elif member == "body":
        item.body.string_value = text
    elif member == "status":
        item.status.message = text
    else:
        setattr(owners[kind], member, text)


ATTRIBUTE_PLACES = [f"{owner}.{member}" for owner in ("resource", "scope", "item") for member in ("key", "value", "array", "map")]
SPAN_PLACES = [*(f"{owner}.{member}" for owner in ("event", "link") for member in ("key", "value", "array", "map")), "item.trace_state", "item.status"]
COMMON_PLACES = [*ATTRIBUTE_PLACES, "schema_url.resource", "schema_url.scope", "scope.name", "scope.version"]


def _repaired(rows: list[Row]) -> list[Row]:
    text: list[Row] = json.loads(json.dumps(rows).replace(MARK.decode(), json.dumps(REPAIRED)[1:-1]))
    return text


@pytest.mark.parametrize("where", [*COMMON_PLACES, *SPAN_PLACES, "item.name", "event.name", "link.trace_state"])
def test_one_invalid_byte_anywhere_in_a_trace_request_costs_that_character(where: str) -> None:
    request = request_of(span(events=[Span.Event(name="e")], links=[Span.Link(trace_id=TRACE_ID, span_id=SPAN_ID)]))
    _mark(request, where)
    body = request.SerializeToString()
    assert body.count(MARK) == 1
    batch = decode_traces(body.replace(MARK, BROKEN), Limits())
    assert rows_of(batch) == _repaired(expected_spans(request).rows)
    assert batch.altered == {"invalid_utf8": 1}
    assert batch.rejected == {}


@pytest.mark.parametrize("where", [*COMMON_PLACES, "item.severity_text", "item.event_name", "item.body"])
def test_one_invalid_byte_anywhere_in_a_log_request_costs_that_character(where: str) -> None:
    request = ExportLogsServiceRequest()
    request.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=5)
    _mark(request, where)
    batch = decode_logs(request.SerializeToString().replace(MARK, BROKEN), Limits())
    assert rows_of(batch) == _repaired(expected_logs(request).rows)
    assert batch.altered == {"invalid_utf8": 1}


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\xff", REPLACED),
        (b"\xc3", REPLACED),
        (b"a\xe2\x82", f"a{REPLACED}"),
        (b"\xed\xa0\x80", 3 * REPLACED),
        (b"\xc0\xaf", 2 * REPLACED),
        ("a\ufffdb".encode(), "a\ufffdb"),
    ],
    ids=["never valid", "half a character", "at the end", "surrogate", "overlong", "a replacement character of the sender's own"],
)
def test_invalid_utf8_is_replaced_as_unicode_says_and_a_valid_replacement_character_is_no_change(raw: bytes, text: str) -> None:
    marked = "@" * len(raw)
    body = request_of(span(name=f"<{marked}>")).SerializeToString().replace(marked.encode(), raw)
    batch = decode_traces(body, Limits())
    assert rows_of(batch)[0]["name"] == f"<{text}>"
    assert batch.altered == ({} if raw.decode("utf-8", "replace").encode() == raw else {"invalid_utf8": 1})


def test_invalid_bytes_in_json_are_replaced_too() -> None:
    body = trace_json(name="@").replace(b"@", b"\xff!")
    assert rows_of(decode_traces(traces_from_json(body)[0], Limits()))[0]["name"] == f"{REPLACED}!"
