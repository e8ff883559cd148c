"""Files of every kind become export requests; what cannot be read is counted and costs nothing else."""

from __future__ import annotations

import gzip
import io
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from google.protobuf.internal.encoder import _VarintBytes  # type: ignore[attr-defined]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from traced.cli import inputs
from traced.cli.inputs import MAX_REPORTS, Inputs
from traced.errors import InputUnreadableError
from traced.model.batch import Signal

RequestOf = Callable[..., ExportTraceServiceRequest]


def span_line(number: int = 1, **more: object) -> str:
    span = {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": f"{number:016x}", "name": "GET /cart", **more}
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})


LOG_LINE = json.dumps({"resourceLogs": [{"scopeLogs": [{"logRecords": [{"timeUnixNano": "1", "body": {"stringValue": "hi"}}]}]}]})


def read(*paths: Path | str, **options: int) -> tuple[Inputs, list[inputs.InputRequest], list[str]]:
    said: list[str] = []
    source = Inputs([str(path) for path in paths], said.append, **options)
    return source, list(source), said


def spans_in(requests: list[inputs.InputRequest]) -> list[str]:
    found = []
    for request in requests:
        assert request.signal is Signal.TRACES
        message = ExportTraceServiceRequest.FromString(request.body)
        found += [span.span_id.hex() for r in message.resource_spans for s in r.scope_spans for span in s.spans]
    return found


def test_a_bad_line_costs_itself_and_is_named_with_its_number(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("\n".join([span_line(1), '{"resourceSpans": [', "", "nonsense", span_line(2)]) + "\n")
    source, requests, said = read(file)
    assert spans_in(requests) == ["0000000000000001", "0000000000000002"]
    assert (source.readable, source.unreadable) == (2, 2)
    assert [line.split(": ")[0] for line in said] == [f"{file}:2", f"{file}:4"]
    assert [request.origin for request in requests] == [f"{file}:1", f"{file}:5"]


@pytest.mark.parametrize(
    "line",
    [
        '{"resourceProfiles": []}',
        '{"resourceMetrics": 7}',
        "[1]",
        '{"resourceSpans": 7}',
        "[" * 100_000,
        "\x00\x01",
        '{"resourceSpans": [{"scopeSpans": "x"}]}',
        '"resourceSpans"',
        "1" * 5000,
    ],
    ids=["profiles", "wrong metrics", "an array", "a number", "100,000 brackets", "binary", "a wrong member", "a bare string", "a long number"],
)
def test_a_line_that_is_no_request_of_traces_logs_or_metrics_is_unreadable(line: str, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(f"{line}\n{span_line()}\n")
    source, requests, said = read(file)
    assert (len(requests), source.unreadable, len(said)) == (1, 1, 1)
    assert len(said[0]) < 1000


def test_traces_and_logs_may_share_a_file_and_even_a_line(tmp_path: Path) -> None:
    both = json.dumps({**json.loads(span_line()), **json.loads(LOG_LINE)})
    file = tmp_path / "a.jsonl"
    file.write_text(f"{LOG_LINE}\n{span_line()}\n{both}\n")
    _, requests, _ = read(file)
    assert [request.signal.value for request in requests] == ["logs", "traces", "traces", "logs"]
    record = ExportLogsServiceRequest.FromString(requests[0].body).resource_logs[0].scope_logs[0].log_records[0]
    assert record.body.string_value == "hi"


def test_an_empty_request_is_read_and_an_empty_line_is_nothing(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("{}\n\n   \n")
    source, requests, said = read(file)
    assert (requests, source.unreadable, said) == ([], 0, [])


def test_gzip_is_told_by_its_first_bytes_whatever_the_name_says(tmp_path: Path) -> None:
    misnamed, plain = tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"
    misnamed.write_bytes(gzip.compress(span_line(1).encode()))
    plain.write_text(span_line(2))
    assert spans_in(read(misnamed, plain)[1]) == ["0000000000000001", "0000000000000002"]


def test_several_gzip_members_are_one_file(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(gzip.compress(span_line(1).encode() + b"\n") + gzip.compress(span_line(2).encode() + b"\n"))
    assert len(spans_in(read(file)[1])) == 2


def test_what_comes_before_the_end_of_a_cut_gzip_file_still_counts(tmp_path: Path) -> None:
    noise = random.Random(1)
    whole = "".join(span_line(n, name=noise.randbytes(400).hex()) + "\n" for n in range(1, 501))
    file = tmp_path / "a.jsonl.gz"
    packed = gzip.compress(whole.encode())
    file.write_bytes(packed[: len(packed) // 2])
    source, requests, said = read(file)
    # Half of the bytes hold half of the lines, but for what the last block of deflate holds back.
    assert 150 <= len(requests) <= 255
    assert spans_in(requests) == [f"{n:016x}" for n in range(1, len(requests) + 1)]
    assert source.unreadable == 1
    assert said[0].startswith(f"{file}:{len(requests) + 1}: cannot be read: the compressed data")


def test_damage_in_the_middle_of_a_gzip_file_is_reported_once(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(b"".join(span_line(n).encode() + b"\n" for n in range(2000)), compresslevel=1))
    packed[len(packed) // 2 : len(packed) // 2 + 64] = b"\xff" * 64
    file = tmp_path / "a.jsonl.gz"
    file.write_bytes(packed)
    source, requests, _ = read(file)
    assert 0 < len(requests) < 2000
    assert source.unreadable >= 1


@pytest.mark.parametrize("text", [span_line(7), json.dumps(json.loads(span_line(7)), indent=2), "\ufeff" + json.dumps(json.loads(span_line(7)), indent=1)])
@pytest.mark.parametrize("name", ["a.json", "a.json.gz", "a.unknown"])
def test_one_document_may_stand_on_one_line_or_on_many(name: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / name
    data = text.encode()
    file.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert spans_in(read(file)[1]) == ["0000000000000007"]


def test_a_json_file_with_a_request_a_line_is_read_as_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(f"{span_line(1)}\n{{broken\n{span_line(2)}\n")
    source, requests, _ = read(file)
    assert (len(requests), source.unreadable) == (2, 1)


def test_a_broken_document_is_one_unreadable_thing(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(json.loads(span_line()), indent=2)[:-5])
    source, requests, said = read(file)
    assert (requests, source.unreadable, len(said)) == ([], 1, 1)


@pytest.mark.parametrize("name", ["a.pb", "a.pb.gz"])
def test_delimited_protobuf_gives_its_messages_byte_for_byte(name: str, tmp_path: Path, request_of: RequestOf) -> None:
    logs = ExportLogsServiceRequest()
    logs.resource_logs.add().scope_logs.add().log_records.append(LogRecord(time_unix_nano=5, severity_number=9))
    bodies = [request_of({}, {}).SerializeToString(), b"", logs.SerializeToString(), request_of({"name": "x" * 300}).SerializeToString()]
    data = b"".join(_VarintBytes(len(body)) + body for body in bodies)
    file = tmp_path / name
    file.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    _, requests, _ = read(file)
    assert [request.body for request in requests] == bodies
    assert [request.signal.value for request in requests] == ["traces", "traces", "logs", "traces"]


@pytest.mark.parametrize("tail", [b"\x80", b"\x05abc", b"\xff" * 12, b"\xff\xff\xff\xff\x0f"], ids=["cut length", "cut message", "no varint", "4 GB length"])
def test_a_bad_end_of_delimited_protobuf_keeps_the_messages_before_it(tail: bytes, tmp_path: Path, request_of: RequestOf) -> None:
    body = request_of({}).SerializeToString()
    file = tmp_path / "a.pb"
    file.write_bytes(_VarintBytes(len(body)) + body + tail)
    source, requests, said = read(file)
    assert [request.body for request in requests] == [body]
    assert source.unreadable == 1
    assert "message 2" in said[0]


def test_a_message_that_is_no_request_costs_only_itself(tmp_path: Path, request_of: RequestOf) -> None:
    body = request_of({}).SerializeToString()
    file = tmp_path / "a.pb"
    file.write_bytes(b"\x03\x0a\x50\x00" + _VarintBytes(len(body)) + body)
    source, requests, _ = read(file)
    assert (len(requests), source.unreadable) == (1, 1)


def test_a_line_over_the_limit_is_skipped_without_being_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "MAX_REQUEST_BYTES", 1000)
    file = tmp_path / "a.jsonl"
    file.write_text(f"{span_line(1)}\n{span_line(2, name='x' * 5000)}\n{span_line(3)}\n")
    source, requests, said = read(file)
    assert spans_in(requests) == ["0000000000000001", "0000000000000003"]
    assert source.unreadable == 1
    assert said[0].startswith(f"{file}:2:")


def test_a_request_with_more_items_than_the_limit_is_split_and_keeps_all(tmp_path: Path, request_of: RequestOf) -> None:
    body = request_of(*({} for _ in range(25))).SerializeToString()
    file = tmp_path / "a.pb"
    file.write_bytes(_VarintBytes(len(body)) + body)
    source, requests, _ = read(file, max_items=10)
    assert [len(spans_in([request])) for request in requests] == [10, 10, 5]
    assert len(set(spans_in(requests))) == 25
    assert source.readable == 1


def test_only_the_first_unreadable_lines_are_told_one_by_one(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("bad\n" * (MAX_REPORTS + 5))
    source, _, said = read(file)
    assert (source.unreadable, len(said)) == (MAX_REPORTS + 5, MAX_REPORTS)
    assert "5 more" in source.summary()


def test_standard_input_is_lines_and_may_be_compressed(monkeypatch: pytest.MonkeyPatch) -> None:
    for data in (span_line(3).encode(), gzip.compress(span_line(3).encode())):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(data))))  # type: ignore[type-var]
        _, requests, _ = read("-")
        assert spans_in(requests) == ["0000000000000003"]
        assert requests[0].origin == "standard input:1"


def test_a_path_that_cannot_be_opened_is_told_before_anything_is_read(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.jsonl", tmp_path, "nul\0byte"):
        with pytest.raises(InputUnreadableError) as caught:
            Inputs([str(path)], print)
        assert caught.value.next_safe_actions


def test_real_files_are_read_whole(shared: Path) -> None:
    truth = json.loads((shared / "otlp" / "opensearch_otel.truth.json").read_text())
    source, requests, _ = read(shared / "otlp" / "opensearch_otel.traces.jsonl.gz", shared / "otlp" / "otel_demo.logs.jsonl.gz")
    assert source.unreadable == 0
    assert len(spans_in([request for request in requests if request.signal is Signal.TRACES])) == truth["spans"]
    logs = [ExportLogsServiceRequest.FromString(request.body) for request in requests if request.signal is Signal.LOGS]
    assert sum(len(s.log_records) for log in logs for r in log.resource_logs for s in r.scope_logs) == 1443


METRIC = {"name": "otel.sdk.processor.span.processed", "sum": {"aggregationTemporality": 2, "dataPoints": [{"timeUnixNano": "5", "asInt": "412"}]}}
METRIC_LINE = json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [METRIC, {"name": "other", "gauge": {"dataPoints": [{"asDouble": 1.5}]}}]}]}]})


def test_metrics_may_stand_beside_traces_and_are_carried_over_whole(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    both = json.dumps({**json.loads(METRIC_LINE), **json.loads(span_line())})
    file.write_text(f"{METRIC_LINE}\n{span_line()}\n{both}\n")
    source, requests, said = read(file)
    assert [request.signal.value for request in requests] == ["metrics", "traces", "traces", "metrics"]
    assert (source.unreadable, said) == (0, [])
    for request in (requests[0], requests[3]):
        ours, other = ExportMetricsServiceRequest.FromString(request.body).resource_metrics[0].scope_metrics[0].metrics
        assert (ours.sum.data_points[0].as_int, other.gauge.data_points[0].as_double) == (412, 1.5)


def test_a_large_request_of_metrics_is_split(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text(json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [{**METRIC, "description": "x" * 100}] * 7}]}]}))
    _, requests, _ = read(file, max_items=3)
    sizes = [len(ExportMetricsServiceRequest.FromString(request.body).resource_metrics[0].scope_metrics[0].metrics) for request in requests]
    assert sizes == [3, 3, 1]
