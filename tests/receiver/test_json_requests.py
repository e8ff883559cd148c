"""OTLP/JSON becomes the protobuf of the same request; what is wrong is named, what is hostile is cheap."""

from __future__ import annotations

import base64
import gzip
import json
import math
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from receiver_parts import trace_json

from traced.errors import InvalidRequestError, TooLargeError
from traced.receiver.decode import decode_traces
from traced.receiver.json_requests import logs_from_json, traces_from_json
from traced.receiver.wire import Limits

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "otlp"
IDS = {"traceId", "spanId", "parentSpanId"}


def traces(body: bytes) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest.FromString(traces_from_json(body)[0])


def span(**members: Any) -> Any:
    return traces(trace_json(**members)).resource_spans[0].scope_spans[0].spans[0]


def value(any_value: Any) -> Any:
    return span(attributes=[{"key": "k", "value": any_value}]).attributes[0].value


def convert_ids(node: Any, convert: Callable[[str], str]) -> Any:
    if isinstance(node, dict):
        return {name: convert(member) if name in IDS else convert_ids(member, convert) for name, member in node.items()}
    return [convert_ids(item, convert) for item in node] if isinstance(node, list) else node


def random_value(rng: random.Random, depth: int = 0) -> AnyValue:
    kind = rng.randrange(8 if depth < 3 else 6)
    if kind == 6:
        nested = AnyValue()
        nested.array_value.values.extend(random_value(rng, depth + 1) for _ in range(rng.randrange(3)))
        return nested
    if kind == 7:
        nested = AnyValue()
        nested.kvlist_value.values.extend(random_pair(rng, depth + 1) for _ in range(rng.randrange(3)))
        return nested
    return [
        lambda: AnyValue(string_value=rng.choice(["", "a", "ü𝄞\x00", '"\\', "x" * 300])),
        lambda: AnyValue(bool_value=rng.random() < 0.5),
        lambda: AnyValue(int_value=rng.choice([0, -1, 2**63 - 1, -(2**63), 9007199254740993])),
        lambda: AnyValue(double_value=rng.choice([0.0, -1.5, 1e308, math.inf])),
        lambda: AnyValue(bytes_value=rng.randbytes(rng.randrange(5))),
        AnyValue,
    ][kind]()


def random_pair(rng: random.Random, depth: int = 0) -> KeyValue:
    return KeyValue(key=rng.choice(["", "http.route", "a.b"]), value=random_value(rng, depth))


def random_traces(rng: random.Random) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    for _ in range(rng.randrange(3)):
        resource_spans = request.resource_spans.add(schema_url=rng.choice(["", "https://opentelemetry.io/schemas/1.40.0"]))
        resource_spans.resource.attributes.extend(random_pair(rng) for _ in range(rng.randrange(4)))
        resource_spans.resource.entity_refs.add(type="service", id_keys=["service.name", ""])
        for _ in range(rng.randrange(3)):
            scope_spans = resource_spans.scope_spans.add()
            scope_spans.scope.name = rng.choice(["", "scope"])
            for _ in range(rng.randrange(4)):
                one = scope_spans.spans.add(trace_id=rng.randbytes(16), span_id=rng.randbytes(8), name="n", kind=rng.randrange(6), flags=rng.getrandbits(32))
                one.start_time_unix_nano = rng.getrandbits(64)
                one.parent_span_id = rng.choice([b"", rng.randbytes(8)])
                one.attributes.extend(random_pair(rng) for _ in range(rng.randrange(6)))
                one.events.add(time_unix_nano=rng.getrandbits(64), name="e", dropped_attributes_count=rng.getrandbits(32)).attributes.add(key="x")
                one.links.add(trace_id=rng.randbytes(16), span_id=rng.randbytes(8), trace_state="a=b", flags=3).attributes.extend([random_pair(rng)])
                one.status.code = rng.randrange(3)
    return request


def test_a_thousand_random_requests_come_back_as_they_were() -> None:
    rng = random.Random(20)
    for _ in range(1000):
        request = random_traces(rng)
        plain = json_format.MessageToDict(request)
        body = json.dumps(convert_ids(plain, lambda text: base64.b64decode(text).hex())).encode()
        protobuf, nonconformant = traces_from_json(body)
        assert ExportTraceServiceRequest.FromString(protobuf) == request
        # protobuf's own JSON names enum values, which OTLP/JSON does not allow
        assert nonconformant == ("SPAN_KIND" in body.decode() or "STATUS_CODE" in body.decode())


@pytest.mark.parametrize("name", ["opensearch_otel.traces", "hotrod.traces", "genai.traces", "zipkin_real.traces", "otel_demo.logs"])
def test_real_files_read_as_the_protobuf_library_reads_them(name: str) -> None:
    path = DATA / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip("the shared data set is not beside this checkout")
    message, convert = (ExportLogsServiceRequest, logs_from_json) if name.endswith("logs") else (ExportTraceServiceRequest, traces_from_json)
    lines = gzip.decompress(path.read_bytes()).splitlines()
    assert lines
    for line in lines:
        expected = message()
        as_base64 = convert_ids(json.loads(line), lambda text: base64.b64encode(bytes.fromhex(text)).decode())
        json_format.ParseDict(as_base64, expected, ignore_unknown_fields=True)
        assert message.FromString(convert(line)[0]) == expected


def test_ids_are_hex_in_any_case() -> None:
    read = span(traceId="ABCDEFabcdef00000000000000000009", spanId="00000000000000fF", parentSpanId="")
    assert read.trace_id.hex() == "abcdefabcdef00000000000000000009"
    assert read.span_id.hex() == "00000000000000ff"
    assert read.parent_span_id == b""


@pytest.mark.parametrize(
    "trace_id",
    [base64.b64encode(bytes(range(1, 17))).decode(), "z" * 16, "g" * 32, "ab " * 16, "abc", "ab" * 15 + " a", "\uff10" * 32, "é" * 8, "ab" * 20],
)
def test_an_id_that_is_not_hex_of_the_right_length_rejects_exactly_its_span(trace_id: str) -> None:
    good = {"traceId": "0" * 31 + "1", "spanId": "0" * 15 + "1"}
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [good, {**good, "traceId": trace_id}, good]}]}]}).encode()
    batch = decode_traces(traces_from_json(body)[0], Limits())
    assert batch.items.num_rows == 2
    assert sum(batch.rejected.values()) == 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [("9007199254740993", 9007199254740993), (9007199254740993, 9007199254740993), ("-5", -5), (-(2**63), -(2**63)), (3.0, 3), (1e15, 10**15), ("007", 7)],
)
def test_integers_are_exact_as_number_or_string(given: Any, expected: int) -> None:
    assert value({"intValue": given}).int_value == expected


@pytest.mark.parametrize("given", ["3.f14", True, "", " 1", "1_0", "٣", 1.5, 2**63, "9" * 20, "9" * 5000, [], {}, math.inf])
def test_what_is_no_64_bit_integer_is_refused_with_its_path(given: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"^resourceSpans\[0\]\.scopeSpans\[0\]\.spans\[0\]\.attributes\[0\]\.value\.intValue: "):
        value({"intValue": given})


@pytest.mark.parametrize("given", ["-1", -1, 2**64, "18446744073709551616", True])
def test_what_is_no_unsigned_integer_is_refused(given: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"spans\[0\]\.startTimeUnixNano: "):
        span(startTimeUnixNano=given)
    assert span(startTimeUnixNano="18446744073709551615").start_time_unix_nano == 2**64 - 1


def test_unknown_names_are_ignored_at_every_level() -> None:
    body = json.dumps(
        {
            "new": [1],
            "resourceSpans": [
                {
                    "new": {"a": {}},
                    "resource": {"new": 1},
                    "scopeSpans": [{"new": "x", "scope": {"new": []}, "spans": [{"name": "kept", "new": {"deep": [[[]]]}, "status": {"new": 5}}]}],
                },
            ],
        },
    ).encode()
    assert traces(body).resource_spans[0].scope_spans[0].spans[0].name == "kept"
    assert traces_from_json(body)[1] is False


def test_enum_names_and_snake_case_are_read_and_told_apart() -> None:
    conformant = trace_json(kind=2, startTimeUnixNano="5", status={"code": 2})
    assert traces_from_json(conformant)[1] is False
    for members in ({"kind": "SPAN_KIND_SERVER"}, {"kind": "2"}, {"start_time_unix_nano": 5}, {"status": {"code": "STATUS_CODE_ERROR"}}):
        assert traces_from_json(trace_json(**members))[1] is True, members
    read = span(kind="SPAN_KIND_SERVER", start_time_unix_nano=5, status={"code": "STATUS_CODE_ERROR"})
    assert (read.kind, read.start_time_unix_nano, read.status.code) == (2, 5, 2)
    assert span(kind=77).kind == 77, "enum numbers of a newer OTLP are kept"
    with pytest.raises(InvalidRequestError, match=r"spans\[0\]\.kind"):
        span(kind="SPAN_KIND_SOMETHING")


def test_doubles_take_the_names_of_proto3_json() -> None:
    assert math.isnan(value({"doubleValue": "NaN"}).double_value)
    assert value({"doubleValue": "-Infinity"}).double_value == -math.inf
    assert value({"doubleValue": "2.5e3"}).double_value == 2500
    assert value({"doubleValue": 7}).double_value == 7
    for wrong in ("nan", "1,5", True, 10**400, "1_0"):
        with pytest.raises(InvalidRequestError, match="doubleValue"):
            value({"doubleValue": wrong})


def test_null_is_the_same_as_absent() -> None:
    read = span(name=None, attributes=None, status=None, parentSpanId=None, events=[None])
    assert (read.name, len(read.attributes), len(read.events)) == ("", 0, 1)
    assert value({"stringValue": None}).WhichOneof("value") is None
    assert not traces(b'{"resourceSpans": null}').resource_spans


def test_bytes_are_base64_of_either_alphabet() -> None:
    assert value({"bytesValue": "+/8="}).bytes_value == b"\xfb\xff"
    assert value({"bytesValue": "-_8"}).bytes_value == b"\xfb\xff"
    for wrong in ("%", "a", "ü", 1):
        with pytest.raises(InvalidRequestError, match="bytesValue"):
            value({"bytesValue": wrong})


def test_half_a_utf16_pair_and_broken_utf8_become_replacement_characters() -> None:
    assert traces(trace_json(name="@").replace(b"@", b"\\ud800!")).resource_spans[0].scope_spans[0].spans[0].name == "\ufffd!"
    assert traces(trace_json(name="@").replace(b"@", b"\\ud83d\\ude00")).resource_spans[0].scope_spans[0].spans[0].name == "😀"
    assert traces(trace_json(name="@").replace(b"@", b"\xff!")).resource_spans[0].scope_spans[0].spans[0].name == "\ufffd!"


def test_the_same_attribute_is_right_wherever_it_stands() -> None:
    pair = {"key": "k", "value": {"stringValue": "v"}}
    read = span(attributes=[pair, pair], links=[{"attributes": [pair]}], events=[{"attributes": [pair]}])
    assert [len(read.attributes), len(read.links[0].attributes), len(read.events[0].attributes)] == [2, 1, 1]
    assert {each.value.string_value for each in (*read.attributes, *read.links[0].attributes, *read.events[0].attributes)} == {"v"}


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'"x"', b"nul", b'{"resourceSpans": {}}', b'{"resourceSpans": [[]]}', b'{"resourceSpans": "x"}', b"{'a': 1}"]
)
def test_what_is_no_request_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestError):
        traces_from_json(body)


@pytest.mark.parametrize("body", [b"{}", b'\xef\xbb\xbf{"resourceSpans": []}', b'{"resourceLogs": [{}]}'])
def test_a_request_of_nothing_is_fine(body: bytes) -> None:
    assert traces_from_json(body) == (b"", False)


NEST = 100_000


@pytest.mark.parametrize(
    "body",
    [
        b"[" * NEST + b"]" * NEST,
        b'{"resourceSpans":' * NEST + b"1" + b"}" * NEST,
        b'{"x":' + b'["]",' * NEST + b"1" + b"]" * NEST + b"}",
        b'{"x":' + b'["\\"]",' * NEST + b"1" + b"]" * NEST + b"}",
        b'{"x":' + b'["\\\\",' * NEST + b"1" + b"]" * NEST + b"}",
        b'{"resourceSpans":[{"a":"' + b"x" * (1 << 20) + b'","b":' + b"[" * NEST,
    ],
    ids=["arrays", "objects", "closing brackets in strings", "escaped quotes", "escaped backslashes", "across windows"],
)
def test_json_nested_a_hundred_thousand_deep_is_refused_at_once(body: bytes) -> None:
    started = time.process_time()
    with pytest.raises(InvalidRequestError, match="nested"):
        traces_from_json(body)
    assert time.process_time() - started < 0.1


def test_brackets_in_strings_are_not_nesting() -> None:
    text = '[{"\\' * 1000
    assert span(name=text).name == text


def nested_value(depth: int, kind: str) -> dict[str, Any]:
    inner: dict[str, Any] = {"stringValue": "bottom"}
    for _ in range(depth):
        inner = {"arrayValue": {"values": [inner]}} if kind == "array" else {"kvlistValue": {"values": [{"key": "k", "value": inner}]}}
    return inner


@pytest.mark.parametrize("kind", ["array", "kvlist"])
def test_a_value_nested_deeper_than_is_kept_is_stored_cut_and_counted(kind: str) -> None:
    def stored(depth: int) -> tuple[str, dict[str, int]]:
        batch = decode_traces(traces_from_json(trace_json(attributes=[{"key": "deep", "value": nested_value(depth, kind)}]))[0], Limits())
        assert batch.items.num_rows == 1
        return batch.attributes.column("value")[0].as_py(), batch.altered

    text, altered = stored(32)
    assert "bottom" in text
    assert not altered
    text, altered = stored(33)
    assert "bottom" not in text
    assert sum(altered.values()) == 1
    assert stored(55) == (text, altered)


def test_more_objects_than_a_request_can_use_are_refused_before_parsing() -> None:
    body = b'{"x":[' + b"{}," * 100_001 + b"1]}"
    assert traces_from_json(body) == (b"", False)
    with pytest.raises(TooLargeError):
        traces_from_json(body, 1)


@pytest.mark.parametrize("level", ["resourceSpans", "scopeSpans", "spans"])
def test_more_items_or_envelopes_than_allowed_are_refused_while_converting(level: str) -> None:
    spans: Any = [{}] * (21 if level == "spans" else 1)
    scope_spans = [{"spans": spans}] * (21 if level == "scopeSpans" else 1)
    body = json.dumps({"resourceSpans": [{"scopeSpans": scope_spans}] * (21 if level == "resourceSpans" else 1)}).encode()
    traces_from_json(body, 100)
    with pytest.raises(TooLargeError):
        traces_from_json(body, 10)


def test_a_request_of_a_thousand_spans_takes_well_under_a_tenth_of_a_second() -> None:
    attributes = [{"key": f"key.{n}", "value": {"stringValue": f"value {n}"}} for n in range(8)]
    spans = [
        {"traceId": f"{n + 1:032x}", "spanId": f"{n + 1:016x}", "name": f"n{n}", "startTimeUnixNano": str(n), "attributes": attributes} for n in range(1000)
    ]
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()

    def seconds() -> float:
        started = time.process_time()
        traces_from_json(body)
        return time.process_time() - started

    assert min(seconds() for _ in range(5)) < 0.1


def test_logs_are_read_by_the_same_rules() -> None:
    record = {"timeUnixNano": "5", "severityNumber": "SEVERITY_NUMBER_INFO", "body": {"stringValue": "hello"}, "traceId": "0" * 31 + "a", "eventName": "e"}
    protobuf, nonconformant = logs_from_json(json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}).encode())
    read = ExportLogsServiceRequest.FromString(protobuf).resource_logs[0].scope_logs[0].log_records[0]
    assert (read.time_unix_nano, read.severity_number, read.body.string_value, read.trace_id[-1], read.event_name) == (5, 9, "hello", 10, "e")
    assert nonconformant
