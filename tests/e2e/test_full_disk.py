"""A disk that fills up under a daemon: senders are told to come back, what is stored stays readable, and work goes on once there is room."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from daemon_process import FREE_PORTS, DaemonProcess, Sender, lost_or_partial, request_of, traced
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from spans import spans

pytestmark = [pytest.mark.e2e]

MEBIBYTE = 2**20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Give a volume of 96 MiB, of which the store keeps 16 in reserve."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", place], capture_output=True, check=False) if not os.geteuid() else None
    if mounted is None or mounted.returncode:
        pytest.skip("a volume of its own can only be mounted by root")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def fill(disk: Path, leave_bytes: int) -> Path:
    """Fill a volume but for so many bytes; give the file that does."""
    filler = disk / "filler"
    volume = os.statvfs(disk)
    with filler.open("ab") as file:
        os.posix_fallocate(file.fileno(), 0, filler.stat().st_size + volume.f_bavail * volume.f_frsize - leave_bytes)
    return filler


def retry_delay(error: grpc.RpcError) -> float:
    """Read google.rpc.RetryInfo's delay out of an error's details, as an exporter does; 0 without."""
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    # google.rpc.Status {details 3: Any}, google.rpc.RetryInfo {retry_delay 1: Duration}: both begin like messages of known shape
    at = details.find(b"type.googleapis.com/google.rpc.RetryInfo")
    if at < 0:
        return 0.0
    info = AnyMessage.FromString(details[at - 2 :]).value
    return Duration.FromString(info[2:]).ToTimedelta().total_seconds()


def assert_nothing_is_taken_and_everything_answers(daemon: DaemonProcess) -> None:
    """Ask a daemon on a full disk everything."""
    sender = Sender(daemon, 9_000_000)
    sender.send_one()
    (error,) = sender.refused
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert 1 <= retry_delay(error) <= 60
    answer = daemon.otlp.post("/v1/traces", content=request_of(2, trace=9_100_000), headers={"content-type": "application/x-protobuf"})
    assert answer.status_code == 503
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert daemon.get("/livez") == {"alive": True}
    assert [f["count"] for f in daemon.get("/api/v1/findings?id=orphan_span")["findings"]] == [1]
    assert daemon.page("/")
    trace = daemon.get("/api/v1/findings")["findings"][0]["examples"][0]["trace_id"]
    assert daemon.get(f"/api/v1/traces/{trace}")["total_spans"] == 1
    assert "tax" in daemon.page(f"/traces/{trace}")
    assert daemon.get("/api/v1/graph")["service_graph"]["edges"]
    assert daemon.client.get("/metrics").status_code == 200


QUICK = {"TRACED_ANALYSIS__INTERVAL_SECONDS": "0.2", "TRACED_STORE__SEAL_AFTER_SPANS": "3000"}


def test_a_full_disk_refuses_retryably_answers_everything_and_goes_on_by_itself(disk: Path, tmp_path: Path):
    ((_, orphan),) = spans("tax SERVER b<absent remote", "tax SERVER other:a").requests()
    with DaemonProcess(disk / "data", settle_seconds=0.3, environment=QUICK, log=tmp_path / "log") as daemon:
        sender = Sender(daemon, 100)
        daemon.export(orphan, timeout=20)
        for _ in range(10):
            sender.send_one()
        daemon.wait_until_analyzed()
        # above the fill that is allowed, then to the last byte
        for leave_bytes in (4 * MEBIBYTE, 0):
            filler = fill(disk, leave_bytes)
            daemon.wait_until(lambda: daemon.client.get("/readyz").status_code == 503, 5)
            assert "disk_full" in daemon.client.get("/readyz").json()["message"]
            assert_nothing_is_taken_and_everything_answers(daemon)
            asked = daemon.client.post("/api/v1/query", json={"name": "spans_by_service"})
            if leave_bytes:
                assert sorted(row[0] for row in asked.json()["rows"]) == ["counter", "tax"]
            else:
                # a query reads a copy of the newest spans, for which there is no room
                assert (asked.status_code, asked.json()["error_code"], asked.headers["retry-after"]) == (503, "overloaded", "10")
        filler.unlink()
        daemon.wait_until(lambda: daemon.client.get("/readyz").status_code == 200, 15)
        for _ in range(20):
            sender.send_one()
        assert sender.refused == []
        assert lost_or_partial(daemon, sender.acked) == []
        assert daemon.terminate()[0] == 0
    with DaemonProcess(disk / "data", log=tmp_path / "log") as again:
        assert lost_or_partial(again, sender.acked) == []
        assert again.sql("select count(*) from spans where service_name = 'tax'") == [[2]]


def test_a_commit_that_runs_out_of_room_half_way_is_refused_whole(disk: Path, tmp_path: Path):
    settings = QUICK | {"TRACED_STORE__MAX_DISK_FRACTION": "1.0"}
    with DaemonProcess(disk / "data", settle_seconds=0.3, environment=settings, log=tmp_path / "log") as daemon:
        sender = Sender(daemon, 100)
        for _ in range(5):
            sender.send_one()
        filler = fill(disk, 128 * 1024)
        while not sender.refused:
            sender.send_one()
            assert len(sender.acked) < 400, "the disk never got full"
        assert {error.code() for error in sender.refused} == {grpc.StatusCode.UNAVAILABLE}
        assert retry_delay(sender.refused.pop()) >= 1
        assert daemon.get("/livez") == {"alive": True}
        filler.unlink()
        daemon.wait_until(lambda: daemon.client.get("/readyz").status_code == 200, 15)
        for _ in range(20):
            sender.send_one()
        assert sender.refused == []
        assert lost_or_partial(daemon, sender.acked) == []
        assert daemon.terminate()[0] == 0
    with DaemonProcess(disk / "data", log=tmp_path / "log") as again:
        assert lost_or_partial(again, sender.acked) == []


def test_a_start_on_a_full_disk_is_exit_code_4_and_loses_nothing(disk: Path, tmp_path: Path):
    with DaemonProcess(disk / "data", log=tmp_path / "log") as daemon:
        sender = Sender(daemon, 100)
        sender.send_one()
        assert daemon.terminate()[0] == 0
    filler = fill(disk, 0)
    ran = traced("serve", *FREE_PORTS, "--data-dir", disk / "other")
    assert (ran.returncode, ran.stdout) == (4, ""), ran.stderr
    assert "No space left" in ran.stderr
    assert "→" in ran.stderr
    assert "Traceback" not in ran.stderr
    filler.unlink()
    with DaemonProcess(disk / "data", log=tmp_path / "log") as again:
        assert lost_or_partial(again, sender.acked) == []
