"""`traced serve` in a process of its own, fed and asked over its ports: what its users have, and nothing else."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from traced.cli import main

TRACED = [sys.executable, "-m", "traced"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("TRACED_", "OTEL_"))}
FREE_PORTS = [part for flag in ("--otlp-grpc", "--otlp-http", "--http") for part in (flag, "127.0.0.1:0")]
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def traced(*arguments: object, environment: dict[str, str] | None = None, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*TRACED, *map(str, arguments)], capture_output=True, text=True, timeout=100, check=False, env=ENVIRONMENT | (environment or {}), **more
    )


def ask(*arguments: object, stdin: str = "") -> tuple[int, str, str]:
    """Run a command that only asks a daemon, in this process, which saves its start; give (exit code, stdout, stderr)."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["traced", *map(str, arguments)])
        patch.setattr(sys, "stdin", io.StringIO(stdin))
        try:
            main()
            code: object = 0
        except SystemExit as left:
            code = left.code or 0
    assert isinstance(code, int)
    return code, out.getvalue(), err.getvalue()


class DaemonProcess:
    """A daemon on free ports.

    Attributes:
        ready: its ready line.
        data_dir: where it keeps its data.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        settle_seconds: float = 1.0,
        environment: dict[str, str] | None = None,
        log: Path | None = None,
        config: Path | None = None,
    ) -> None:
        """Start it and wait for its ready line; its log goes to a file, by default beside the data."""
        self.data_dir = data_dir
        self._log = log or data_dir.with_name(f"{data_dir.name}.log")
        command = [*TRACED, "serve", *FREE_PORTS, "--data-dir", str(data_dir), "--settle-seconds", str(settle_seconds)]
        command += ["--config", str(config)] if config is not None else []
        with self._log.open("ab") as stderr:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=ENVIRONMENT | (environment or {}))
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait(10)
            self.process.stdout.close()
            message = f"no ready line, exit code {self.process.returncode}: {self.log()}"
            raise AssertionError(message)
        self.ready: dict[str, Any] = json.loads(line)
        self.client = httpx.Client(base_url=f"http://{self.ready['http']}", timeout=60, trust_env=False)
        self.otlp = httpx.Client(base_url=f"http://{self.ready['otlp_http']}", timeout=60, trust_env=False)
        self._channel = grpc.insecure_channel(self.ready["otlp_grpc"], [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)])
        self.export = self._channel.unary_unary(EXPORT)
        """Send the bytes of one request by OTLP/gRPC; raises grpc.RpcError."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        self.close()

    def close(self) -> None:
        """Let go of connections and pipes."""
        self._channel.close()
        self.client.close()
        self.otlp.close()
        if self.process.stdout is not None:
            self.process.stdout.close()

    @property
    def url(self) -> str:
        """Where people and machines ask."""
        return f"http://{self.ready['http']}"

    def log(self) -> str:
        """Give what it said on stderr."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def terminate(self) -> tuple[int, float]:
        """Send SIGTERM; give the exit code and how long the end took, in seconds."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30), time.monotonic() - started

    # ------------------------------------------------------------------ asking

    def get(self, path: str) -> dict[str, Any]:
        """Ask for JSON that must be there."""
        answer = self.client.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:500]}"
        found: dict[str, Any] = answer.json()
        return found

    def page(self, path: str) -> str:
        """Ask for a page that must be there."""
        answer = self.client.get(path, headers={"accept": "text/html"})
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:500]}"
        assert answer.headers["content-type"].startswith("text/html")
        return answer.text

    def sql(self, text: str) -> list[list[Any]]:
        """Run SQL; give the rows."""
        answer = self.client.post("/api/v1/query", json={"sql": text})
        assert answer.status_code == 200, answer.text[:500]
        rows: list[list[Any]] = answer.json()["rows"]
        return rows

    def wait_until(self, holds: Callable[[], bool], seconds: float = 40) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + seconds
        while not holds():
            assert self.process.poll() is None, f"the daemon ended: {self.log()[-2000:]}"
            assert time.monotonic() < deadline, f"not within {seconds} s; status {self.get('/api/v1/status')}; log {self.log()[-2000:]}"
            time.sleep(0.1)

    def wait_until_analyzed(self, spans: int | None = None, seconds: float = 40) -> None:
        """Wait until so many spans were analysed; by default all that were received."""

        def holds() -> bool:
            status = self.get("/api/v1/status")
            wanted = status["received"]["spans"] - status["repeated"]["spans"] if spans is None else spans
            return bool(status["analysis"]["spans_analyzed"] >= wanted)

        self.wait_until(holds, seconds)


def request_of(count: int, *, trace: int, first: int = 1, service: str = "counter") -> bytes:
    """Give an export request of so many short spans in a trace, whose span ids count from `first`."""
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.add(key="service.name").value.string_value = service
    spans = resource_spans.scope_spans.add().spans
    now = time.time_ns()
    for number in range(first, first + count):
        one = spans.add(trace_id=trace.to_bytes(16, "big"), span_id=number.to_bytes(8, "big"), name="count", kind=1)
        one.start_time_unix_nano, one.end_time_unix_nano = now, now + 1_000
    return request.SerializeToString()


class Sender:
    """Sends batches of its own traces, one after the other, and remembers which were acknowledged.

    Attributes:
        acked: the traces (numbers) whose one batch was acknowledged.
        refused: why the others were not: the error of each.
        seconds: how long each acknowledgement took.
    """

    def __init__(self, daemon: DaemonProcess, first_trace: int, spans_per_batch: int = 500) -> None:
        self._daemon = daemon
        self._spans = spans_per_batch
        self._next = first_trace
        self.acked: list[int] = []
        self.refused: list[grpc.RpcError] = []
        self.seconds: list[float] = []

    def send_one(self) -> None:
        """Send the next batch."""
        trace, self._next = self._next, self._next + 1
        body = request_of(self._spans, trace=trace)
        started = time.monotonic()
        try:
            self._daemon.export(body, timeout=20)
        except grpc.RpcError as error:
            self.refused.append(error)
            return
        self.acked.append(trace)
        self.seconds.append(time.monotonic() - started)

    def send_until(self, stopped: threading.Event) -> None:
        """Send until told to stop, or refused."""
        while not stopped.is_set() and not self.refused:
            self.send_one()


def lost_or_partial(daemon: DaemonProcess, acked: Iterable[int], spans_per_batch: int = 500) -> list[tuple[int, int]]:
    """Give (trace, stored spans) of each acknowledged batch that is not stored, and of each batch that is stored in part."""
    stored = {int(trace, 16): count for trace, count in daemon.sql("select trace_id, count(*) from spans where service_name = 'counter' group by 1")}
    wrong = {trace: stored.get(trace, 0) for trace in acked if stored.get(trace, 0) != spans_per_batch}
    return sorted((wrong | {trace: count for trace, count in stored.items() if count != spans_per_batch}).items())
