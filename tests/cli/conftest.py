"""What the tests of the command line share: running it in this process, and small OTLP requests."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_runs import SHARED, Ran, Run
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from traced.cli import logs, main


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `traced` with arguments in this process."""

    def running(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["traced", *arguments])
        # The log of the whole process belongs to pytest here.
        monkeypatch.setattr(logs, "configure", lambda *_: None)
        with pytest.raises(SystemExit) as left:
            main()
        code = left.value.code
        captured = capsys.readouterr()
        return Ran(code if isinstance(code, int) else 0, captured.out, captured.err)

    return running


@pytest.fixture
def request_of() -> Callable[..., ExportTraceServiceRequest]:
    """Make a request of some spans, each a dict of the fields that matter."""

    def making(*spans: dict[str, Any]) -> ExportTraceServiceRequest:
        request = ExportTraceServiceRequest()
        scope = request.resource_spans.add().scope_spans.add()
        for number, fields in enumerate(spans, start=1):
            scope.spans.append(Span(**{"trace_id": b"\1" * 16, "span_id": number.to_bytes(8, "big"), "name": f"span {number}", **fields}))
        return request

    return making


@pytest.fixture
def shared() -> Path:
    """Give the folder of real data beside the checkout, or skip."""
    if not SHARED.is_dir():
        pytest.skip("the real data (shared/data beside the checkout) is not here")
    return SHARED
