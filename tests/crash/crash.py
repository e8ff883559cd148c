"""Kills `traced serve` under load, again and again, and then looks at every batch that it had acknowledged: `make crash`.

Each round starts the daemon on the same data directory, sends batches over two gRPC connections, and kills it with SIGKILL at a
random moment: in some rounds while it starts, in some while a segment is being sealed. What was not acknowledged is sent again
in the next round, as a sender would, and now and then something that was. In the end everything is sealed, and DuckDB alone, on
the Parquet files alone, says what is there: every acknowledged batch whole and once, no part of any other.

    python tests/crash/crash.py [--kills 100] [--seed 1] [--data-dir DIR]

Prints `kills 100  during_seal 23  acked_batches …  lost_batches 0  partial_batches 0  failed_starts 0` and exits with 1 on any violation.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import duckdb
import grpc
import numpy as np
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
SIZES = (512, 1024, 1536, 2048)
SPANS_PER_TRACE = 8
CONNECTIONS = 2
UNDER_WAY = 2
"""Requests of one connection without an answer yet."""
SPANS_PER_SECOND = 20_000
READY_SECONDS = 60.0
SETTLED_SECONDS = 5.0
"""After the last span everything has settled and was looked at."""
STOP_SECONDS = 15.0
SETTINGS = {
    "TRACED_STORE__SEAL_AFTER_SPANS": "6000",
    "TRACED_STORE__MERGE_FILES": "4",
    "TRACED_STORE__MAX_DISK_FRACTION": "1",
    "TRACED_ANALYSIS__SETTLE_SECONDS": "1",
}
"""Seals and merges all the time, and an analysis that reads beside them."""


# ---------------------------------------------------------------------- what is sent


def size_of(number: int) -> int:
    """Give the number of spans of a batch: its number alone says it."""
    return SIZES[number % len(SIZES)]


def batch(number: int) -> bytes:
    """Give a batch as an OTLP request: the first half of each trace id is its number, span ids count from 1."""
    body, places = _template(size_of(number))
    buffer = np.frombuffer(bytearray(body), np.uint8).copy()
    buffer[places] = np.frombuffer(number.to_bytes(8, "big"), np.uint8)
    return buffer.tobytes()


@cache
def _template(size: int) -> tuple[bytes, np.ndarray]:
    """Build a request, and find where the numbers go."""
    marker = b"\xa5\x5a\xc3\x3c\x96\x69\x0f\xf0"
    request = ExportTraceServiceRequest()
    under = request.resource_spans.add()
    under.resource.attributes.add(key="service.name").value.string_value = "crash"
    scope = under.scope_spans.add()
    for index in range(size):
        trace, place = divmod(index, SPANS_PER_TRACE)
        span = scope.spans.add(
            trace_id=marker + trace.to_bytes(8, "big"),
            span_id=(index + 1).to_bytes(8, "big"),
            parent_span_id=(index - place + 1).to_bytes(8, "big") if place else b"",
            name=f"step {place}",
            kind=1 if place else 4,
            start_time_unix_nano=time.time_ns() + index,
            end_time_unix_nano=time.time_ns() + index + 1000,
        )
        span.attributes.add(key="step").value.int_value = place
        if not place:
            for key, value in (("messaging.system", "kafka"), ("messaging.destination.name", "crash"), ("messaging.operation.type", "send")):
                span.attributes.add(key=key).value.string_value = value
    body = request.SerializeToString()
    starts = np.array([match.start() for match in re.finditer(re.escape(marker), body)])
    if len(starts) != size:
        raise RuntimeError("the marker must stand in each trace id and nowhere else")
    return body, starts[:, None] + np.arange(8)


@dataclass
class Ledger:
    """What was sent and what was acknowledged, over all rounds."""

    rng: random.Random
    acked: set[int] = field(default_factory=set)
    again: list[int] = field(default_factory=list)
    last: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self) -> int:
        """Give the number of the batch to send: one that was not acknowledged, a new one, now and then an acknowledged one."""
        with self.lock:
            if self.again:
                return self.again.pop()
            if self.acked and self.rng.random() < 0.03:
                return self.rng.choice(tuple(self.acked)[-50:])
            self.last += 1
            return self.last

    def answered(self, number: int, *, acked: bool) -> None:
        """Note an answer, or that none came."""
        with self.lock:
            if acked:
                self.acked.add(number)
            elif number not in self.acked:
                self.again.append(number)


class Load:
    """Threads that send over two connections until they are told to stop."""

    def __init__(self, address: str, ledger: Ledger) -> None:
        self._ledger = ledger
        self._stop = threading.Event()
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        self._channels = [grpc.insecure_channel(address, options) for _ in range(CONNECTIONS)]
        self._threads = [threading.Thread(target=self._run, args=(c.unary_unary(EXPORT),)) for c in self._channels for _ in range(UNDER_WAY)]
        for thread in self._threads:
            thread.start()

    def _run(self, export: grpc.UnaryUnaryMultiCallable) -> None:
        while not self._stop.is_set():
            number = self._ledger.next()
            begun = time.monotonic()
            try:
                answer = export(batch(number), timeout=20)
            except grpc.RpcError:
                # a refusal, or the daemon is gone, which is seen by whoever ended it
                self._ledger.answered(number, acked=False)
                self._stop.wait(0.05)
                continue
            self._ledger.answered(number, acked=answer == b"")
            self._stop.wait(max(0.0, begun + len(self._threads) * size_of(number) / SPANS_PER_SECOND - time.monotonic()))

    def stop(self) -> None:
        """End the threads; what has no answer yet is sent again in the next round."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for channel in self._channels:
            channel.close()


# ---------------------------------------------------------------------- the daemon


class Daemon:
    """One `traced serve`."""

    def __init__(self, data_dir: Path, log: Path, **settings: str) -> None:
        ports = [argument for name in ("--otlp-grpc", "--otlp-http", "--http") for argument in (name, "127.0.0.1:0")]
        with log.open("ab") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "traced", "serve", "--data-dir", str(data_dir), *ports],
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=os.environ | SETTINGS | settings,
            )
        self._begun = time.monotonic()

    def wait_ready(self) -> dict[str, Any] | None:
        """Give the line it prints when it is ready; None where it does not come."""
        until = self._begun + READY_SECONDS
        while (left := until - time.monotonic()) > 0:
            if select.select([self.process.stdout], [], [], left)[0]:
                line = self.process.stdout.readline()
                return dict(json.loads(line)) if line else None
        return None

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self._begun

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def terminate(self) -> int:
        """SIGTERM; give the exit status, or -9 where it had to be killed."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        return self.process.returncode


@contextmanager
def surely_gone(daemon: Daemon) -> Iterator[None]:
    """Leave no process behind, whatever happens."""
    try:
        yield
    finally:
        if daemon.process.poll() is None:
            daemon.kill()


def metrics(address: str) -> dict[str, float]:
    """Read the metrics without labels."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=20) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.partition(" ") for line in lines if not line.startswith("#") and "{" not in line)}


def spans_of_trace(address: str, number: int) -> int:
    """Count the spans of a batch's first trace by the API."""
    try:
        with urllib.request.urlopen(f"http://{address}/api/v1/traces/{number:016x}{0:016x}", timeout=20) as answer:
            return len(json.load(answer)["spans"])
    except urllib.error.HTTPError:
        return 0


# ---------------------------------------------------------------------- rounds


@dataclass
class Tally:
    """What was seen over all rounds."""

    kills: int = 0
    during_seal: int = 0
    during_start: int = 0
    failed_starts: int = 0
    slowest_start: float = 0.0
    violations: list[str] = field(default_factory=list)


def seals(data_dir: Path) -> bool:
    """Say whether a sealed file is being written, or a frozen segment waits for it."""
    return any((data_dir / "sealed").glob("*.tmp")) or len(list((data_dir / "hot").glob("hot-*.duckdb"))) > 1


def one_round(data_dir: Path, log: Path, rng: random.Random, ledger: Ledger, tally: Tally) -> None:
    """Start, look, load, kill."""
    daemon = Daemon(data_dir, log)
    with surely_gone(daemon):
        if tally.kills % 10 == 5:
            time.sleep(rng.uniform(0.2, max(0.5, tally.slowest_start)))
            daemon.kill()
            tally.kills += 1
            tally.during_start += 1
            return
        ready = daemon.wait_ready()
        if ready is None:
            tally.failed_starts += 1
            tally.violations.append(f"round {tally.kills}: not ready")
            return
        tally.slowest_start = max(tally.slowest_start, daemon.age)
        look(ready["http"], rng, ledger, tally)
        load = Load(ready["otlp_grpc"], ledger)
        try:
            wait_for_the_moment(data_dir, rng, seal=tally.kills % 3 == 1)
            daemon.kill()
        finally:
            load.stop()
    tally.kills += 1
    tally.during_seal += seals(data_dir)


def look(address: str, rng: random.Random, ledger: Ledger, tally: Tally) -> None:
    """Compare what a fresh start says of itself, and some acknowledged batches."""
    values = metrics(address)
    for name in ("traced_store_lost_batches_total", "traced_store_quarantined_segments_total"):
        if values[name]:
            tally.violations.append(f"round {tally.kills}: {name} {values[name]:g}")
    for number in rng.sample(sorted(ledger.acked), min(3, len(ledger.acked))):
        found = spans_of_trace(address, number)
        if found != SPANS_PER_TRACE:
            tally.violations.append(f"round {tally.kills}: batch {number} has {found} of {SPANS_PER_TRACE} spans in its first trace")


def wait_for_the_moment(data_dir: Path, rng: random.Random, *, seal: bool) -> None:
    """Wait for a random time, and if so wanted for a seal after that."""
    time.sleep(rng.uniform(0.05, 1.5))
    if seal:
        until = time.monotonic() + 5
        while not any((data_dir / "sealed").glob("*.tmp")) and time.monotonic() < until:
            time.sleep(0.0005)
        time.sleep(rng.uniform(0, 0.02))


# ---------------------------------------------------------------------- the end


def seal_everything(data_dir: Path, log: Path, ledger: Ledger, tally: Tally) -> None:
    """Start once more, send what has no answer, have everything sealed, and stop in order."""
    daemon = Daemon(data_dir, log, TRACED_STORE__SEAL_AFTER_SECONDS="0.2")
    with surely_gone(daemon):
        ready = daemon.wait_ready()
        if ready is None:
            tally.failed_starts += 1
            tally.violations.append("the last start: not ready")
            return
        load = Load(ready["otlp_grpc"], ledger)
        wait_until(lambda: not ledger.again, 60)
        load.stop()
        time.sleep(SETTLED_SECONDS)
        if not wait_until(lambda: not metrics(ready["http"])["traced_analysis_lag_seconds"], 60):
            tally.violations.append("the analysis did not catch up")
        if not wait_until(lambda: not metrics(ready["http"])["traced_store_hot_spans"], 60):
            tally.violations.append("not everything was sealed")
        status = daemon.terminate()
        if status:
            tally.violations.append(f"exit status {status} after SIGTERM")


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until something holds; say whether it came true in time."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def judge(data_dir: Path, ledger: Ledger, tally: Tally) -> tuple[int, int]:
    """Read the sealed files with DuckDB alone; give (acknowledged batches lost, batches not whole or not once)."""
    rows = duckdb.sql(
        "SELECT trace_id_high, count(*), count(DISTINCT (trace_id_low, span_id)), min(span_id), max(span_id) FROM read_parquet($files) GROUP BY ALL",
        params={"files": str(data_dir / "sealed" / "spans-*.parquet")},
    ).fetchall()
    wrong = [number for number, *facts in rows if facts != [size_of(number), size_of(number), 1, size_of(number)] or not 0 < number <= ledger.last]
    lost = ledger.acked - {number for number, *_ in rows}
    tally.violations += [f"batch {number} is not whole, or not once" for number in wrong[:5]]
    tally.violations += [f"batch {number} was acknowledged and is gone" for number in sorted(lost)[:5]]
    return len(lost), len(wrong)


def judge_messages(data_dir: Path, tally: Tally) -> tuple[int, int]:
    """Compare the messages that are logged with the PRODUCER spans that are stored, by trace; give how many are missing, and how many are there too often."""
    state = json.loads(gzip.decompress((data_dir / "state" / "analysis.json.gz").read_bytes()))
    names = [f"{table}-{number:08d}.parquet" for table, number, *_ in state["message_log"]["files"]]
    missing, doubled, logged = duckdb.sql(
        """WITH sent AS (SELECT trace_id_high, trace_id_low, 1 AS n FROM read_parquet($spans) WHERE kind = 4),
        logged AS (SELECT trace_id_high, trace_id_low, sum(messages) AS n FROM read_parquet($messages) WHERE role = 'producer' GROUP BY ALL)
        SELECT count(*) FILTER (logged.n IS NULL), count(*) FILTER (sent.n IS NULL OR logged.n > 1), coalesce(sum(logged.n), 0)
        FROM sent FULL JOIN logged USING (trace_id_high, trace_id_low)""",
        params={
            "spans": str(data_dir / "sealed" / "spans-*.parquet"),
            "messages": [str(data_dir / "messages" / name) for name in names if name.startswith("messages")],
        },
    ).fetchall()[0]
    counted = duckdb.sql(
        "SELECT sum(messages) FROM read_parquet($flows) WHERE role = 'producer'",
        params={"flows": [str(data_dir / "messages" / name) for name in names if name.startswith("flows")]},
    ).fetchall()[0][0]
    if counted != logged:
        tally.violations.append(f"{counted} messages are counted by minute, {logged} are logged")
    if missing or doubled:
        tally.violations.append(f"of {logged} messages {missing} are missing, {doubled} are there too often")
    return missing, doubled


def run(kills: int, seed: int, data_dir: Path) -> int:
    """Do all rounds; give the exit status."""
    rng = random.Random(seed)
    ledger, tally = Ledger(random.Random(seed + 1)), Tally()
    log = data_dir.with_name(f"{data_dir.name}.log")
    begun = time.monotonic()
    while tally.kills < kills and tally.failed_starts < 3:
        one_round(data_dir, log, rng, ledger, tally)
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{tally.kills} kills, {tally.during_seal} during a seal, {len(ledger.acked)} batches acknowledged ")
    seal_everything(data_dir, log, ledger, tally)
    lost, partial = judge(data_dir, ledger, tally)
    missing, doubled = judge_messages(data_dir, tally)
    for violation in tally.violations[:20]:
        sys.stderr.write(f"{violation}\n")
    sys.stdout.write(
        f"kills {tally.kills}  during_seal {tally.during_seal}  during_start {tally.during_start}  acked_batches {len(ledger.acked)}  "
        f"acked_spans {sum(map(size_of, ledger.acked))}  lost_batches {lost}  partial_batches {partial}  "
        f"lost_messages {missing}  doubled_messages {doubled}  failed_starts {tally.failed_starts}  "
        f"slowest_start {tally.slowest_start:.1f} s  took {time.monotonic() - begun:.0f} s  seed {seed}\n"
    )
    if tally.during_seal < kills // 5:
        sys.stderr.write("fewer than a fifth of the kills came during a seal\n")
        return 1
    return 1 if tally.violations or tally.failed_starts or lost or partial or not ledger.acked else 0


def main() -> None:
    """Read the flags and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--data-dir", type=Path, help="kept afterwards; a temporary one unless given")
    given = parser.parse_args()
    if given.data_dir is not None:
        sys.exit(run(given.kills, given.seed, given.data_dir))
    with tempfile.TemporaryDirectory(prefix="traced-crash-") as directory:
        sys.exit(run(given.kills, given.seed, Path(directory) / "data"))


if __name__ == "__main__":
    main()
