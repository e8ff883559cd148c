"""Load for the bench: export requests whose traces are whole, made unique by XOR of their ids before each sending.

Run as a process of its own it sends to a daemon and prints one JSON line with what was acknowledged and how long each ack took:

    python -m tests.bench.load --to 127.0.0.1:4317 --batch 2048 --seconds 60 [--rate 5000] [--connections 2]
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import threading
import time
from dataclasses import dataclass, field

import grpc
import numpy as np
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
HOTEL = [("frontend", "profile"), ("frontend", "reservation"), ("frontend", "search"), ("search", "geo"), ("search", "rate")]
"""Who calls whom in one trace: a root SERVER, and a CLIENT and a SERVER for each call, as in DeathStarBench's hotel reservation."""
SPANS_PER_TRACE = 1 + 2 * len(HOTEL)

ATTRIBUTES = {
    "plain": [("component", "gRPC")],
    "rich": [
        ("rpc.system", "grpc"),
        ("rpc.service", "hotel.Reservation"),
        ("rpc.method", "CheckAvailability"),
        ("rpc.grpc.status_code", 0),
        ("server.address", "reservation.hotel.svc.cluster.local"),
        ("server.port", 8087),
        ("network.peer.address", "10.0.1.61"),
        ("thread.id", None),
    ],
}
"""`plain` is what the real set carries; `rich` is what current SDKs send (eight attributes, about 340 bytes a span)."""


@dataclass
class Template:
    """An export request, and where in its bytes the ids stand."""

    body: bytes
    spans: int
    trace_ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    span_ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def unique(self, rng: np.random.Generator) -> bytes:
        """Give the request with other ids: relations stay, because every id of a kind is changed by the same bits."""
        buffer = np.frombuffer(bytearray(self.body), np.uint8).copy()
        buffer[self.trace_ids] ^= rng.integers(0, 256, 16, dtype=np.uint8)
        buffer[self.span_ids] ^= rng.integers(0, 256, 8, dtype=np.uint8)
        return buffer.tobytes()


def template(spans: int, attributes: str, seed: int = 7) -> Template:
    """Make a request of about so many spans in whole traces, in the order of span end, grouped by service as a collector does."""
    rng = random.Random(seed)
    traces = max(1, spans // SPANS_PER_TRACE)
    rows: dict[str, list[tuple[int, dict[str, object]]]] = {}
    markers: list[tuple[bytes, bytes, bytes]] = []
    now = time.time_ns()
    for _ in range(traces):
        _trace(rng, rows, now + rng.randrange(10**9))
    request = ExportTraceServiceRequest()
    for service, some in rows.items():
        resource_spans = request.resource_spans.add()
        for key, value in (("service.name", service), ("service.instance.id", f"{service}-1"), ("host.name", "node-1"), ("telemetry.sdk.language", "go")):
            resource_spans.resource.attributes.add(key=key).value.string_value = value
        scope_spans = resource_spans.scope_spans.add()
        scope_spans.scope.name = "otelgrpc"
        for _, values in sorted(some, key=lambda r: r[0]):
            span = scope_spans.spans.add(**values)
            markers.append((span.trace_id, span.span_id, span.parent_span_id))
            for key, value in ATTRIBUTES[attributes]:
                _set(span.attributes.add(key=key).value, rng.randrange(64) if value is None else value)
    body = request.SerializeToString()
    return Template(body, len(markers), *_positions(body, markers))


def _trace(rng: random.Random, rows: dict[str, list[tuple[int, dict[str, object]]]], start: int) -> None:
    trace_id = rng.randbytes(16)

    def add(service: str, kind: int, parent: bytes, name: str, begin: int, end: int) -> bytes:
        span_id = rng.randbytes(8)
        values = {
            "trace_id": trace_id,
            "span_id": span_id,
            "parent_span_id": parent,
            "name": name,
            "kind": kind,
            "start_time_unix_nano": begin,
            "end_time_unix_nano": end,
            "flags": 0x101 if kind == 3 else 0x301,
        }
        rows.setdefault(service, []).append((end, values))
        return span_id

    servers = {"frontend": add("frontend", 2, b"", "/hotels", start, start + 10_000_000)}
    begin = start + 100_000
    for caller, callee in HOTEL:
        client = add(caller, 3, servers[caller], f"/{callee}.{callee.title()}/Get", begin, begin + rng.randrange(900_000, 1_500_000))
        servers[callee] = add(callee, 2, client, f"/{callee}.{callee.title()}/Get", begin + 200_000, begin + rng.randrange(400_000, 800_000))
        begin += 1_600_000


def _set(value: object, content: object) -> None:
    if isinstance(content, str):
        value.string_value = content  # type: ignore[attr-defined]
    else:
        value.int_value = content  # type: ignore[attr-defined]


def _positions(body: bytes, markers: list[tuple[bytes, bytes, bytes]]) -> tuple[np.ndarray, np.ndarray]:
    """Find every id in the bytes; spans stand in the order of the markers."""
    trace_ids, span_ids, at = [], [], 0
    for trace_id, span_id, parent in markers:
        at = body.index(b"\x0a\x10" + trace_id + b"\x12\x08" + span_id, at)
        trace_ids.append(at + 2)
        span_ids.append(at + 20)
        at += 28
        if parent:
            at = body.index(b"\x22\x08" + parent, at)
            span_ids.append(at + 2)
            at += 10
    return (np.array(trace_ids)[:, None] + np.arange(16)), (np.array(span_ids)[:, None] + np.arange(8))


class Sender:
    """Sends from several connections, each with a few requests under way."""

    def __init__(self, address: str, connections: int, under_way: int, made: Template, seed: int) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
        self._channels = [grpc.insecure_channel(address, options) for _ in range(connections)]
        self._calls = [c.unary_unary(EXPORT) for c in self._channels]
        self._under_way = under_way
        self._made = made
        self._rng = np.random.default_rng(seed)
        self._lock = threading.Lock()
        self.acked = 0
        self.refused = 0
        self.seconds: list[float] = []

    def run(self, seconds: float, rate: float | None) -> float:
        """Send for so long (at the rate in spans/s, or as fast as acks come); give the time until the last ack."""
        slots = threading.Semaphore(self._under_way * len(self._calls))
        start = time.perf_counter()
        number = 0
        while (now := time.perf_counter()) - start < seconds:
            if rate is not None:
                due = start + number * self._made.spans / rate
                if due > now:
                    time.sleep(due - now)
            slots.acquire()
            self._send(self._calls[number % len(self._calls)], self._made.unique(self._rng), slots)
            number += 1
        for _ in range(self._under_way * len(self._calls)):
            slots.acquire()
        return time.perf_counter() - start

    def _send(self, call: grpc.UnaryUnaryMultiCallable, body: bytes, slots: threading.Semaphore) -> None:
        sent = time.perf_counter()
        future = call.future(body, timeout=60)

        def done(finished: grpc.Future) -> None:
            with self._lock:
                if finished.exception() is None:
                    self.acked += self._made.spans
                    self.seconds.append(time.perf_counter() - sent)
                else:
                    self.refused += self._made.spans
            slots.release()

        future.add_done_callback(done)

    def close(self) -> None:
        """Close the connections."""
        for channel in self._channels:
            channel.close()


def main() -> None:
    """Send and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", required=True)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--connections", type=int, default=2)
    parser.add_argument("--under-way", type=int, default=4)
    parser.add_argument("--attributes", choices=ATTRIBUTES, default="rich")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    made = template(given.batch, given.attributes)
    sender = Sender(given.to, given.connections, given.under_way, made, given.seed)
    took = sender.run(given.seconds, given.rate)
    sender.close()
    acks = np.array(sender.seconds or [0.0]) * 1e3
    answer = {
        "acked": sender.acked,
        "refused": sender.refused,
        "seconds": took,
        "p50_ms": float(np.percentile(acks, 50)),
        "p99_ms": float(np.percentile(acks, 99)),
        "bytes_per_span": len(made.body) / made.spans,
    }
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
