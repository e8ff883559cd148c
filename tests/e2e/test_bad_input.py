"""What no sender should send, sent to a whole daemon: each gets a clear error or a counted rejection, and nothing else is lost."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from daemon_process import DaemonProcess, Sender, ask, lost_or_partial
from hostile import hostile_names
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

pytestmark = [pytest.mark.e2e]

QUICK = {"TRACED_ANALYSIS__INTERVAL_SECONDS": "0.2"}
NOW = time.time_ns()


def _daemon(directory: Path) -> Iterator[DaemonProcess]:
    with DaemonProcess(directory / "data", settle_seconds=0.5, environment=QUICK) as one:
        yield one
        assert one.get("/livez") == {"alive": True}
        assert one.get("/readyz") == {"ready": True}
        assert '"level": "error"' not in one.log()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    yield from _daemon(tmp_path_factory.mktemp("bad"))


@pytest.fixture(scope="module")
def giants(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    yield from _daemon(tmp_path_factory.mktemp("giants"))


def post(daemon: DaemonProcess, content: bytes, kind: str = "application/json", **headers: str) -> httpx.Response:
    """Send one request by OTLP/HTTP."""
    return daemon.otlp.post("/v1/traces", content=content, headers={"content-type": kind, **headers})


def span(number: int, trace: int = 1, parent: int = 0, start: int = NOW, end: int = NOW + 10**6, **changed: Any) -> dict[str, Any]:
    """Give a span as OTLP/JSON has it."""
    ids = {"traceId": f"{trace:032x}", "spanId": f"{number:016x}", **({"parentSpanId": f"{parent:016x}"} if parent else {})}
    return {**ids, "name": f"span {number}", "kind": 2, "startTimeUnixNano": str(start), "endTimeUnixNano": str(end), **changed}


def request(*spans: dict[str, Any], service: str = "shop") -> bytes:
    """Give an OTLP/JSON request."""
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": list(spans)}]}]}).encode()


def samples(daemon: DaemonProcess) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Give every sample of a scrape."""
    families = parse_text(daemon.client.get("/metrics").text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def counters(daemon: DaemonProcess, name: str) -> Counter[str]:
    """Give a counter by its label `reason`, all transports together."""
    counted: Counter[str] = Counter()
    for (one, labels), value in samples(daemon).items():
        if one == name:
            counted[dict(labels)["reason"]] += int(value)
    return counted


def _truncated() -> bytes:
    made = ExportTraceServiceRequest()
    made.resource_spans.add().scope_spans.add().spans.add(trace_id=b"\1" * 16, span_id=b"\1" * 8, name="cut", start_time_unix_nano=1)
    return made.SerializeToString()[:-3]


NOT_TO_BE_STORED = {
    "truncated protobuf": (_truncated(), "application/x-protobuf", {}, 400, "invalid_request"),
    "not protobuf": (b"hello", "application/x-protobuf", {}, 400, "invalid_request"),
    "not JSON": (b"{", "application/json", {}, 400, "invalid_request"),
    "100,000-deep JSON": (b'{"resourceSpans":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "application/json", {}, 400, "invalid_request"),
    "2 million spans in 4 KB": (
        gzip.compress(b"\x0a\x85\x92\xf4\x01\x12\x80\x92\xf4\x01" + b"\x12\x00" * 2_000_000),
        "application/x-protobuf",
        {"content-encoding": "gzip"},
        413,
        "too_many_items",
    ),
    "a gigabyte in a megabyte": (gzip.compress(bytes(2**28)), "application/x-protobuf", {"content-encoding": "gzip"}, 413, "too_large"),
    "not gzip": (b"\x1f\x8bnothing", "application/x-protobuf", {"content-encoding": "gzip"}, 400, "invalid_request"),
    "another media type": (b"<xml/>", "text/xml", {}, 415, "unsupported_media_type"),
}


def test_a_request_that_cannot_be_taken_is_told_why_and_counted_and_costs_nobody_else_anything(daemon: DaemonProcess):
    sender = Sender(daemon, 10)
    before = counters(daemon, "traced_receiver_refused_total")
    for name, (content, kind, headers, status, _) in NOT_TO_BE_STORED.items():
        began = time.monotonic()
        answer = post(daemon, content, kind, **headers)
        assert answer.status_code == status, f"{name}: {answer.status_code} {answer.text[:300]}"
        assert time.monotonic() - began < 10, name
        assert len(answer.content) < 2_000, name
        sender.send_one()
    assert counters(daemon, "traced_receiver_refused_total") - before == Counter(reason for *_, reason in NOT_TO_BE_STORED.values())
    assert daemon.get("/api/v1/status")["refused"]["requests"] == counters(daemon, "traced_receiver_refused_total").total()
    assert sender.refused == []
    assert lost_or_partial(daemon, sender.acked) == []
    with pytest.raises(grpc.RpcError) as raised:
        daemon.export(_truncated(), timeout=20)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_wrong_ids_cost_their_own_spans_only_and_are_counted_exactly(daemon: DaemonProcess):
    good = [span(n, 99) for n in range(1, 6)]
    bad = [
        span(6, 99) | {"traceId": "00" * 16},
        span(7, 99) | {"spanId": "00" * 8},
        span(8, 99) | {"traceId": "abcd"},
        span(9, 99) | {"spanId": ""},
        span(10, 99) | {"traceId": ""},
        span(11, 99) | {"parentSpanId": "abcd"},
    ]
    before = counters(daemon, "traced_receiver_rejected_items_total")
    answer = post(daemon, request(*good[:3], *bad, *good[3:], service="ids"))
    rejected = int(answer.json()["partialSuccess"]["rejectedSpans"])
    stored = daemon.sql("select span_id from spans where service_name = 'ids' order by 1")
    assert len(stored) + rejected == len(good) + len(bad)
    assert {row[0] for row in stored} >= {one["spanId"] for one in good}
    assert {row[0] for row in stored} <= {one["spanId"] for one in (*good, bad[-1])}
    after = counters(daemon, "traced_receiver_rejected_items_total")
    assert (after - before).total() == rejected
    assert daemon.get("/api/v1/status")["rejected"]["items"] == after.total()


LATEST = 2**64 - 1
CLOCKS = {
    1: [span(1, 1, start=0, end=0)],
    2: [span(1, 2, start=LATEST, end=LATEST)],
    3: [span(1, 3, start=0, end=LATEST)],
    4: [span(1, 4, start=LATEST, end=0)],
    5: [span(1, 5, start=NOW, end=NOW - 10**9), span(2, 5, 1, start=NOW - 10**10, end=NOW - 10**9)],
    6: [span(1, 6, 1), span(2, 6, 3), span(3, 6, 2), span(4, 6, 2)],
    7: [span(n, 7, n % 50 + 1) for n in range(1, 51)],
    8: [span(1, 8, 2, start=0, end=LATEST), span(2, 8, 1, start=LATEST, end=0, kind=3)],
    9: [span(1, 9), span(1, 9) | {"kind": 3, "name": "the other half"}, span(2, 9, 1) | {"kind": 99, "status": {"code": 99}}],
}
"""Traces whose clocks or parents cannot be right."""


def test_impossible_clocks_and_parents_are_stored_analysed_and_shown(daemon: DaemonProcess):
    sent = sum(len(spans) for spans in CLOCKS.values())
    for spans in CLOCKS.values():
        answer = post(daemon, request(*spans, service="clocks"))
        assert (answer.status_code, int(answer.json().get("partialSuccess", {}).get("rejectedSpans", 0))) == (200, 0), answer.text
    daemon.wait_until_analyzed()
    assert daemon.sql("select count(*), count(start_time) + count(end_time) > 0 from spans where service_name = 'clocks'") == [[sent, True]]
    for trace, spans in CLOCKS.items():
        shown = daemon.get(f"/api/v1/traces/{trace:x}")
        assert len(shown["spans"]) == len(spans)
        assert daemon.page(f"/traces/{trace:x}").count("span 1") >= 1
    findings = daemon.get("/api/v1/findings?service=clocks")["findings"]
    assert "parent_loop" in {f["id"] for f in findings}
    for finding in findings:
        assert daemon.page(f"/findings/{finding['fingerprint']}")
    assert daemon.page("/")
    assert sum(value for (name, _), value in samples(daemon).items() if name == "traced_detector_errors_total") == 0
    for name in ("spans_by_service", "slowest_spans", "traces", "error_spans"):
        assert ask("query", name, "--url", daemon.url)[0] == 0
    assert ask("graph", "--url", daemon.url, "--format", "svg")[0] == 0


@pytest.mark.parametrize("shape", ["deep", "wide"])
def test_a_trace_of_100_000_spans_is_analysed_and_shown_in_bounded_time(giants: DaemonProcess, shape: str):
    total, per_request = 100_000, 25_000
    trace_id = shape[0].encode() * 16
    truncated = samples(giants)["traced_traces_truncated_total", frozenset()]
    for first in range(1, total + 1, per_request):
        made = ExportTraceServiceRequest()
        under = made.resource_spans.add()
        under.resource.attributes.add(key="service.name").value.string_value = shape
        spans = under.scope_spans.add().spans
        for number in range(first, first + per_request):
            parent = (number - 1 if shape == "deep" else 1) if number > 1 else 0
            one = spans.add(trace_id=trace_id, span_id=number.to_bytes(8, "big"), name="part", kind=1)
            one.start_time_unix_nano, one.end_time_unix_nano = NOW + number, NOW + 10**9 - number
            one.parent_span_id = parent.to_bytes(8, "big") if parent else b""
        giants.export(made.SerializeToString(), timeout=30)
    began = time.monotonic()
    giants.wait_until(lambda: samples(giants)["traced_traces_truncated_total", frozenset()] == truncated + 1)
    paths = [f"/traces/{trace_id.hex()}", f"/api/v1/traces/{trace_id.hex()}"]
    for path in (*paths, "/", "/metrics"):
        asked = time.monotonic()
        answer = giants.client.get(path)
        assert (answer.status_code, len(answer.content) < 20_000_000) == (200, True), path
        assert time.monotonic() - asked < 15, path
    shown = giants.get(paths[1])
    assert (shown["total_spans"], shown["truncated"], len(shown["spans"])) == (total, True, 10_000)
    assert "100,000" in giants.page(paths[0])
    # what was left out of the analysis is not called missing
    assert {one["id"] for one in giants.get(f"/api/v1/findings?service={shape}")["findings"]} <= {"span_flood"}
    assert time.monotonic() - began < 60


class Markup(HTMLParser):
    """The tags and attributes of pages; text between script tags."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.script = ""
        self._in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen |= {tag, *(f"{tag} {name}" for name, _ in attrs)}
        self._in_script = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self._in_script &= tag != "script"

    def handle_data(self, data: str) -> None:
        self.script += data if self._in_script else ""


FIRST_NAMED = 1_000
"""The trace of the first name."""


def _named(names: list[str]) -> list[bytes]:
    """Give requests of which every text that a sender chooses is one of the names: orphans, calls, databases, messages."""
    requests = []
    for number, name in enumerate(names):
        texts = [
            {"key": key, "value": {"stringValue": name}}
            for key in ("peer.service", "http.route", "url.full", "db.system", "messaging.destination.name", "server.address")
        ]
        own = [*texts, {"key": name, "value": {"arrayValue": {"values": [{"stringValue": name}]}}}]
        extra = {"name": name, "attributes": own, "traceState": name, "status": {"code": 2, "message": name}, "events": [{"name": name, "attributes": own}]}
        trace = FIRST_NAMED + number
        spans = [
            span(1, trace, 9, **extra, flags=0x300),
            span(2, trace, 1, **extra | {"kind": 3}),
            span(3, trace, 1, **extra | {"kind": 4}),
            span(4, trace, 3, **extra | {"kind": 5}),
        ]
        requests += [request(*spans, service=name), request(span(5, trace, 2, **extra), span(5, trace, 2, **extra), service=f"{name} callee")]
    return requests


def _pages(daemon: DaemonProcess, names: int) -> Markup:
    """Read every page there is of a daemon."""
    markup = Markup()
    fingerprints = [f["fingerprint"] for f in daemon.get("/api/v1/findings")["findings"][::5]]
    traces = range(FIRST_NAMED, FIRST_NAMED + names)
    paths = ["/", *(f"/findings/{one}" for one in fingerprints), *(f"/traces/{one:x}" for one in traces)]
    for path in paths:
        markup.feed(daemon.page(path))
    return markup


def _feed_names(daemon: DaemonProcess, names: list[str]) -> None:
    requests = _named(names)
    for body in requests:
        answer = post(daemon, body)
        assert answer.status_code == 200, answer.text
    daemon.wait_until_analyzed()


HOSTILE = hostile_names(25, 11)
UNPRINTABLE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200e\u200f]")


def test_hostile_names_are_text_on_every_way_out(daemon: DaemonProcess, tmp_path_factory: pytest.TempPathFactory):
    with DaemonProcess(tmp_path_factory.mktemp("plain") / "data", settle_seconds=0.5, environment=QUICK) as harmless:
        _feed_names(harmless, ["one", "two", "three"])
        plain = _pages(harmless, 3)
    _feed_names(daemon, HOSTILE)
    markup = _pages(daemon, len(HOSTILE))
    assert markup.seen <= plain.seen
    assert markup.script.strip() == plain.script.strip() == ""
    findings = daemon.get("/api/v1/findings")["findings"]
    assert {"orphan_span", "duplicate_span"} <= {f["id"] for f in findings}
    assert len({f["service"] for f in findings}) > 20
    text = daemon.client.get("/metrics").text
    assert sum(s.value for family in parse_text(text) for s in family.samples if s.name == "traced_findings_open") == len(findings)
    opened = daemon.client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}).text
    assert "traced_findings_open" in {family.name for family in parse_openmetrics(opened)}
    url = ("--url", daemon.url)
    for command in (["findings"], ["findings", findings[0]["fingerprint"]], ["graph"], ["graph", "--format", "dot"], ["query", "spans_by_service"]):
        code, out, err = ask(*command, *url)
        assert (code, err) == (0, ""), command
        assert not UNPRINTABLE.search(out), command
    assert json.loads(ask("findings", *url, "--format", "json")[1])["findings"] == findings
    between = f"'{FIRST_NAMED:032x}' and '{FIRST_NAMED + len(HOSTILE):032x}'"
    sql = f"select service_name, name, attributes from spans where trace_id between {between}"  # noqa: S608 - two numbers
    _, rows, _ = ask("query", "-", *url, "--format", "csv", stdin=sql)
    read = list(csv.reader(io.StringIO(rows)))
    assert (len(read), {len(row) for row in read}) == (len(HOSTILE) * 5 + 1, {3})
    assert not [cell for row in read for cell in row if cell.startswith(("=", "+", "-", "@"))]
    assert not UNPRINTABLE.search(rows)
