"""`make bench`: speeds and sizes of this machine, one figure a line: `name value unit`.

The load generator runs on the same cores as the daemon. Absolute figures compare only within one run; `parse_reference` (the
plain parse rate of the same bytes by opentelemetry-proto, one thread) is there so that ratios survive a noisy machine.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.bench import messages
from tests.bench.load import template

SETTLE_SECONDS = 5
ROOT = Path(__file__).resolve().parents[2]


def show(name: str, value: float, unit: str) -> None:
    """Print one figure."""
    digits = 0 if abs(value) >= 1000 else 1
    sys.stdout.write(f"{name} {value:.{digits}f} {unit}\n")
    sys.stdout.flush()


class Served:
    """A running daemon."""

    def __init__(self, process: subprocess.Popen[str], ready: dict[str, str]) -> None:
        self._process = process
        self.grpc = ready["otlp_grpc"]
        self.http = ready["http"]
        self.data_dir = Path(ready["data_dir"])

    def rss_mib(self) -> float:
        """Give the daemon's resident memory now, in MiB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        line = next(x for x in status.splitlines() if x.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def metric(self, name: str) -> float:
        """Give the sum of a metric's samples."""
        with urllib.request.urlopen(f"http://{self.http}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(x.rsplit(" ", 1)[1]) for x in lines if x.split("{")[0].split(" ")[0] == name)


@contextmanager
def served(*environment: str) -> Iterator[Served]:
    """Run `traced serve` on free ports with an empty data directory on disk."""
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT) as directory, Path(directory, "log").open("w") as log:
        command = [sys.executable, "-m", "traced", "serve", "--data-dir", f"{directory}/data", "--settle-seconds", str(SETTLE_SECONDS)]
        command += ["--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        process = subprocess.Popen(["/usr/bin/env", *environment, *command], stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT)
        try:
            if process.stdout is None:
                raise RuntimeError("no standard output")
            yield Served(process, json.loads(process.stdout.readline()))
        finally:
            process.terminate()
            process.wait(30)


def load(daemon: Served, batch: int, seconds: float, *more: str) -> dict[str, float]:
    """Run the load generator against a daemon; give what it says, and the daemon's highest memory meanwhile (`rss_mib`)."""
    command = [sys.executable, "-m", "tests.bench.load", "--to", daemon.grpc, "--batch", str(batch), "--seconds", str(seconds), *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        highest = daemon.rss_mib()
        while process.poll() is None:
            time.sleep(0.25)
            highest = max(highest, daemon.rss_mib())
        answer = process.communicate()[0]
    if process.returncode:
        raise SystemExit("the load generator failed")
    return {**json.loads(answer), "rss_mib": highest}


def parse_reference(batch: int) -> None:
    """Measure opentelemetry-proto's own parse of the same bytes, one thread."""
    made = template(batch, "rich")
    rates = []
    for _ in range(5):
        start, parsed = time.perf_counter(), 0
        while time.perf_counter() - start < 0.5:
            ExportTraceServiceRequest.FromString(made.body)
            parsed += made.spans
        rates.append(parsed / (time.perf_counter() - start))
    show("parse_reference", float(np.median(rates)), "spans/s")
    show("request_bytes_per_span", len(made.body) / made.spans, "B")


def ingest(seconds: float, short: float) -> None:
    """Measure durable ingest, with sealing and analysis running, and how far the analysis was behind at the end."""
    for batch, duration in ((512, short), (2048, seconds), (8192, short)):
        with served() as daemon:
            answer = load(daemon, batch, duration)
            show(f"ingest_durable_{batch}", answer["acked"] / answer["seconds"], "spans/s")
            show(f"ingest_refused_{batch}", answer["refused"] / max(1, answer["acked"] + answer["refused"]), "share")
            show(f"analysis_lag_after_{batch}", daemon.metric("traced_analysis_lag_seconds"), "s")
            show(f"rss_{batch}", answer["rss_mib"], "MiB")


def latency(seconds: float) -> None:
    """Measure memory idle and at 5,000 spans/s, and how long an ack takes there, over a time in which the hot segment fills and is sealed."""
    with served() as daemon:
        time.sleep(3)
        show("rss_idle", daemon.rss_mib(), "MiB")
        answer = load(daemon, 512, seconds, "--rate", "5000", "--under-way", "16")
        show("ack_p50_5000", answer["p50_ms"], "ms")
        show("ack_p99_5000", answer["p99_ms"], "ms")
        show("rss_5000", answer["rss_mib"], "MiB")
        show("sealed_5000", daemon.metric("traced_store_sealed_spans_total"), "spans")
        show("offered_5000", (answer["acked"] + answer["refused"]) / answer["seconds"], "spans/s")


def stored_bytes() -> None:
    """Measure the size of sealed Parquet per span, on data like dsb_hotel."""
    with served("TRACED_STORE__SEAL_AFTER_SECONDS=2") as daemon:
        answer = load(daemon, 2048, 6, "--attributes", "plain", "--rate", "50000")
        deadline = time.monotonic() + 60
        while daemon.metric("traced_store_hot_spans") and time.monotonic() < deadline:
            time.sleep(0.5)
        size = sum(p.stat().st_size for p in (daemon.data_dir / "sealed").glob("*.parquet"))
        show("stored_bytes_per_span", size / answer["acked"], "B")


def analysis_pass(spans: int) -> None:
    """Measure one pass (trees, graph, history and every detector) over staged spans."""
    from traced.analysis.passes import Passes
    from traced.config import AnalysisSettings, GraphSettings
    from traced.detectors import detectors
    from traced.store.workbench import Workbench
    from traced.telemetry import Telemetry

    settled = _settled(spans)
    passes = Passes(Workbench(), _NoLinks(), detectors(), GraphSettings(), Telemetry(), AnalysisSettings())
    passes.run(settled, 1.0)
    seconds = []
    for _ in range(7):
        start = time.perf_counter()
        outcome = passes.run(settled, 1.0)
        seconds.append(time.perf_counter() - start)
    if sum(c.calls for c in outcome.edges.values()) != settled.spans.num_rows // 11 * 6:
        raise SystemExit("the pass counted the wrong number of calls")
    show("analysis_pass", settled.spans.num_rows / float(np.median(seconds)), "spans/s")
    show("analysis_pass_size", settled.spans.num_rows, "spans")
    profile = cProfile.Profile()
    for _ in range(5):
        profile.runcall(passes.run, settled, 1.0)
    for part, (_, _, _, cumulative, _) in pstats.Stats(profile).stats.items():  # type: ignore[attr-defined]
        if (part[0].rpartition("/")[2], part[2]) in _PARTS_OF_A_PASS:
            show(f"analysis_part_{_PARTS_OF_A_PASS[part[0].rpartition('/')[2], part[2]]}", cumulative / 5 * 1e3, "ms")


def damaged_pass(spans: int) -> None:
    """Measure one pass over spans of which some are lost and some calls lost their context, all detectors on; and the detectors alone."""
    from tests.spans import first_look
    from traced.analysis.passes import Passes
    from traced.config import AnalysisSettings, GraphSettings
    from traced.detectors import detectors
    from traced.store.workbench import Workbench
    from traced.telemetry import Telemetry

    settled = first_look(_damaged(_settled(spans).spans), _settled(1).repeats)
    telemetry = Telemetry()
    passes = Passes(Workbench(), _NoLinks(), detectors(), GraphSettings(), telemetry, AnalysisSettings())
    passes.run(settled, 1.0)
    asked = _detector_seconds(telemetry)
    start = time.perf_counter()
    outcome = passes.run(settled, 1.0)
    seconds = time.perf_counter() - start
    show("damaged_pass", settled.spans.num_rows / seconds, "spans/s")
    show("damaged_pass_detectors", settled.spans.num_rows / (_detector_seconds(telemetry) - asked), "spans/s")
    show("damaged_pass_size", settled.spans.num_rows, "spans")
    show("damaged_pass_found", len(outcome.occurrences), "occurrences")


def _detector_seconds(telemetry: object) -> float:
    metrics = telemetry.registry.collect()  # type: ignore[attr-defined]
    return sum(sample.value for metric in metrics for sample in metric.samples if sample.name == "traced_detector_seconds_total")


def _damaged(spans: pa.Table) -> pa.Table:
    """Spread requests over time, 5,000 spans a second, lose 2 % of the spans, and let 1 % of the SERVER spans begin a trace of their own."""
    rng = np.random.default_rng(5)
    # the requests of the bench are one second's, all of them the same one
    arrivals = np.unique(np.asarray(spans.column("arrival_time_unix_nano")), return_inverse=True)[1]
    for name in ("start_time_unix_nano", "end_time_unix_nano"):
        values = np.asarray(spans.column(name)) + arrivals * int(8192 / 5000 * 1e9)
        spans = spans.set_column(spans.schema.get_field_index(name), spans.schema.field(name), pa.array(values))
    cut = (rng.random(spans.num_rows) < 0.01) & (np.asarray(spans.column("kind")) == 2)
    for name in ("parent_span_id", "trace_id_high", "trace_id_low"):
        values = np.asarray(spans.column(name)).copy()
        values[cut] = 0 if name == "parent_span_id" else rng.integers(1, 2**63, int(cut.sum()), dtype=np.uint64)
        spans = spans.set_column(spans.schema.get_field_index(name), spans.schema.field(name), pa.array(values))
    return spans.filter(pa.array(rng.random(spans.num_rows) >= 0.02))


_PARTS_OF_A_PASS = {
    ("passes.py", "run"): "all",
    ("forest.py", "__init__"): "trees",
    ("calls.py", "__init__"): "calls",
    ("relation.py", "tables"): "relation",
    ("passes.py", "_learn_slots"): "history",
    ("workbench.py", "rows"): "queries",
    ("workbench.py", "register"): "tables_to_sql",
}
"""What one pass consists of, for the profile; the sums of edges run in another thread meanwhile."""


def memory() -> None:
    """Say where the memory of an idle daemon comes from: what each library adds when it is loaded, in this order."""
    script = """
import importlib, sys
def rss():
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) / 1024
print("python", rss())
for name in sys.argv[1:]:
    before = rss()
    importlib.import_module(name)
    if name == "duckdb":
        kept = sys.modules[name].connect(":memory:")
    print(name, rss() - before)
"""
    names = ("numpy", "pyarrow", "pyarrow.compute", "pyarrow.parquet", "duckdb", "grpc", "ptars", "pydantic", "pydantic_settings")
    names += ("structlog", "prometheus_client", "starlette.applications", "uvicorn", "jinja2", "typer", "traced.daemon")
    done = subprocess.run([sys.executable, "-c", script, *names], check=True, capture_output=True, text=True, cwd=ROOT)
    for line in done.stdout.splitlines():
        name, size = line.split()
        show(f"memory_{name.replace('.', '_')}", float(size), "MiB")


class _NoLinks:
    """The bench's spans have no links, so nobody asks."""

    def spans_by_id(self, ids: pa.Table) -> pa.Table:
        raise NotImplementedError


def _settled(spans: int) -> object:
    """Give staged spans as the store and the staging query give them."""
    from traced.analysis.settling import Settling
    from traced.config import StoreSettings
    from traced.receiver.decode import decode_traces
    from traced.receiver.wire import Limits
    from traced.store.store import Store
    from traced.store.workbench import Workbench
    from traced.telemetry import Telemetry

    made, rng = template(8192, "rich"), np.random.default_rng(3)
    with tempfile.TemporaryDirectory() as directory:
        store = Store(StoreSettings(data_dir=Path(directory), durable=False, seal_after_spans=1_000_000), Telemetry())
        store.open()
        for _ in range(max(1, spans // made.spans)):
            store.accept(decode_traces(made.unique(rng), Limits())).result()
        until = store.visible_until
        settled = Settling(store, Workbench(), 10**18, 1_000_000, 10**18).advance(until, until)
        store.close()
    return settled


def main() -> None:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long ingest at batches of 2,048, and 5,000 spans/s, are sustained")
    parser.add_argument("--short", type=float, default=15, help="how long ingest at other batches is measured")
    parser.add_argument("--only", choices=("parse", "ingest", "latency", "memory", "stored", "analysis", "damaged", "messages"))
    given = parser.parse_args()
    steps = {
        "parse": lambda: parse_reference(2048),
        "ingest": lambda: ingest(given.seconds, given.short),
        "latency": lambda: latency(given.seconds),
        "memory": memory,
        "stored": stored_bytes,
        "analysis": lambda: analysis_pass(262_144),
        "damaged": lambda: damaged_pass(1_000_000),
        "messages": lambda: messages.measure(show, 10_000_000),
    }
    for name, step in steps.items():
        if given.only in (None, name):
            step()


if __name__ == "__main__":
    main()
