"""What `traced send` sends, our own receiver takes: the two halves of one protocol, written apart."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest
from cli_runs import Run

from traced.config import ReceiverSettings
from traced.errors import OverloadedError
from traced.model.batch import Batch, Receipt, Signal
from traced.receiver.receiver import Receiver
from traced.telemetry import Telemetry


class Consumer:
    """Refuses the first batches as a store does that is busy, and keeps the others."""

    def __init__(self) -> None:
        self.busy_for = 0
        self.batches: list[Batch] = []

    def accept(self, batch: Batch) -> Future[Receipt]:
        if self.busy_for:
            self.busy_for -= 1
            raise OverloadedError("the queue is full", retry_after_seconds=1, reason="queue_full")
        self.batches.append(batch)
        done: Future[Receipt] = Future()
        done.set_result(Receipt(batch.items.num_rows, 0, 0))
        return done

    def count(self, signal: Signal) -> int:
        return sum(batch.items.num_rows for batch in self.batches if batch.signal is signal)


@pytest.fixture
def consumer() -> Consumer:
    return Consumer()


@pytest.fixture
def receiver(consumer: Consumer) -> Iterator[Receiver]:
    receiver = Receiver(ReceiverSettings(otlp_grpc="127.0.0.1:0", otlp_http="127.0.0.1:0"), consumer, Telemetry())
    receiver.start()
    yield receiver
    receiver.stop(2.0)


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_real_files_arrive_whole_although_the_receiver_is_busy_at_first(
    *, transport: str, run: Run, shared: Path, receiver: Receiver, consumer: Consumer
) -> None:
    consumer.busy_for = 2
    to = receiver.grpc_address if transport == "grpc" else f"http://{receiver.http_address}"
    files = [str(shared / "otlp" / name) for name in ("dsb_hotel.traces.jsonl.gz", "otel_demo.logs.jsonl.gz")]
    ran = run("send", *files, "--to", to, "--now")
    assert ran.code == 0, ran.err
    assert ran.out.startswith("sent 11000 spans, 1443 log records, ")
    assert ran.out.endswith(" 2 retries\n")
    assert (consumer.count(Signal.TRACES), consumer.count(Signal.LOGS)) == (11_000, 1_443)


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_a_span_that_the_receiver_rejects_is_told_and_makes_the_exit_code_1(
    *, transport: str, run: Run, tmp_path: Path, receiver: Receiver, consumer: Consumer
) -> None:
    file = tmp_path / "a.jsonl"
    good, bad = '{"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174"}', '{"traceId": "5b8e", "spanId": "00"}'
    file.write_text(f'{{"resourceSpans": [{{"scopeSpans": [{{"spans": [{good}, {bad}]}}]}}]}}\n')
    to = receiver.grpc_address if transport == "grpc" else f"http://{receiver.http_address}"
    ran = run("send", str(file), "--to", to)
    assert ran.code == 1
    assert ran.out.startswith("sent 1 spans")
    assert f"{file}:1: 1 rejected" in ran.err
    assert consumer.count(Signal.TRACES) == 1
