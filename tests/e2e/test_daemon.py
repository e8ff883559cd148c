"""The daemon's life: how it starts, why it does not, how it ends, and that nothing acknowledged is lost on the way."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from daemon_process import FREE_PORTS, DaemonProcess, Sender, ask, lost_or_partial, traced
from spans import spans

pytestmark = [pytest.mark.e2e]

RETRYABLE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}
"""Of those that OTLP lists: everything is to be sent again; the second where the request had not come whole."""
QUICK = {"TRACED_ANALYSIS__INTERVAL_SECONDS": "0.2"}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    settings = {"TRACED_QUERY__TIMEOUT_SECONDS": "2"}
    with DaemonProcess(tmp_path_factory.mktemp("daemon") / "data", environment=settings) as one:
        yield one


def test_the_ready_line_names_ports_that_are_bound_and_where_the_data_is(daemon: DaemonProcess):
    assert list(daemon.ready) == ["ready", "otlp_grpc", "otlp_http", "http", "data_dir", "version"]
    assert daemon.ready["ready"] is True
    assert daemon.ready["data_dir"] == str(daemon.data_dir)
    for name in ("otlp_grpc", "otlp_http", "http"):
        host, _, port = daemon.ready[name].rpartition(":")
        assert host == "127.0.0.1"
        with socket.create_connection((host, int(port)), timeout=5):
            pass


def test_probes_answer_at_once(daemon: DaemonProcess):
    assert daemon.get("/livez") == {"alive": True}
    assert daemon.get("/readyz") == {"ready": True}


def test_sigterm_under_load_exits_0_soon_and_keeps_every_acknowledged_batch(tmp_path: Path):
    stopped = threading.Event()
    with DaemonProcess(tmp_path / "data", environment={"TRACED_STORE__SEAL_AFTER_SPANS": "20000"}) as daemon:
        senders = [Sender(daemon, 1_000_000 * (n + 1)) for n in range(3)]
        with ThreadPoolExecutor(len(senders)) as pool:
            running = [pool.submit(sender.send_until, stopped) for sender in senders]
            time.sleep(1.5)
            code, seconds = daemon.terminate()
            stopped.set()
        for future in running:
            future.result()
        assert (code, daemon.log().count('"event": "stopped"')) == (0, 1)
        assert seconds < 10
    acked = [trace for sender in senders for trace in sender.acked]
    assert len(acked) > 20
    assert {error.code() for sender in senders for error in sender.refused} <= RETRYABLE
    with DaemonProcess(tmp_path / "data") as again:
        assert lost_or_partial(again, acked) == []
        again.wait_until_analyzed(500 * len(acked))


def test_sigterm_right_after_the_ready_line_is_an_orderly_end(tmp_path: Path):
    with DaemonProcess(tmp_path / "data") as daemon:
        code, seconds = daemon.terminate()
    assert code == 0
    assert seconds < 10


def test_findings_graph_and_counters_go_on_where_they_were_after_a_restart(tmp_path: Path):
    (_, first), (_, second) = spans("tax SERVER b<absent remote", "web CLIENT c", "cart SERVER d<c", "tax SERVER e<absent @1s").requests()
    with DaemonProcess(tmp_path / "data", settle_seconds=0.3, environment=QUICK) as daemon:
        daemon.export(first, timeout=20)
        daemon.wait_until_analyzed(3)
        findings, graph = daemon.get("/api/v1/findings"), daemon.get("/api/v1/graph")
        assert [f["count"] for f in findings["findings"] if f["id"] == "orphan_span"] == [1]
        assert [(e["client"], e["server"], e["calls"]) for e in graph["service_graph"]["edges"] if not e["connection_type"]] == [("web", "cart", 1)]
        assert daemon.terminate()[0] == 0
    with DaemonProcess(tmp_path / "data", settle_seconds=0.3, environment=QUICK) as again:
        assert again.get("/api/v1/findings") == findings
        assert again.get("/api/v1/graph") == graph
        again.export(first, timeout=20)
        again.export(second, timeout=20)
        again.wait_until(lambda: [f["count"] for f in again.get("/api/v1/findings?id=orphan_span")["findings"]] == [2])
        assert again.get("/api/v1/graph") == graph


@pytest.mark.parametrize(
    ("file", "environment", "flags", "told"),
    [
        ("receiver: {otlp_grcp: 127.0.0.1:0}", {}, [], "receiver.otlp_grpc"),
        ("recever: {otlp_grpc: 127.0.0.1:0}", {}, [], "receiver"),
        ("analysis: [settle_seconds, 1]", {}, [], "analysis"),
        ("store: {seal_after_spans: many}", {}, [], "store.seal_after_spans"),
        ("a: b: c", {}, [], "YAML"),
        ("", {"TRACED_STORE__RETENTION_BYTE": "9"}, [], "retention_bytes"),
        ("", {"TRACED_STROE__RETENTION_BYTES": "9"}, [], "TRACED_STORE__"),
        ("", {"TRACED_GRAPH__VIRTUAL_CALLERS": "nobody"}, [], "virtual_callers"),
        ("", {}, ["--settle-second", "1"], "--settle-seconds"),
        ("", {}, ["--otlp-grpc", "127.0.0.1"], "receiver.otlp_grpc"),
        ("", {}, ["--otlp-http", "127.0.0.1:99999"], "receiver.otlp_http"),
        ("", {}, ["--settle-seconds", "-1"], "analysis.settle_seconds"),
    ],
)
def test_a_typo_in_the_configuration_is_exit_code_2_and_names_what_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, environment: dict[str, str], flags: list[str], told: str
):
    config = tmp_path / "traced.yaml"
    config.write_text(file)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    code, out, err = ask("serve", *FREE_PORTS, "--data-dir", tmp_path / "data", "--config", config, *flags)
    assert (code, out) == (2, ""), err
    assert told in err
    assert "Traceback" not in err
    assert not (tmp_path / "data").exists()


def test_pages_beyond_loopback_need_a_word_of_consent(tmp_path: Path):
    everywhere = {"TRACED_HTTP__LISTEN": "0.0.0.0:0"}
    ran = traced("serve", *FREE_PORTS[:4], "--data-dir", tmp_path / "a", environment=everywhere)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "TRACED_HTTP__ALLOW_BEYOND_LOOPBACK" in ran.stderr
    assert not (tmp_path / "a").exists()
    # with consent it gets as far as the data directory, which is none here
    assert traced("serve", *FREE_PORTS[:4], "--data-dir", os.devnull, environment=everywhere | {"TRACED_HTTP__ALLOW_BEYOND_LOOPBACK": "true"}).returncode == 4


def test_a_data_directory_that_cannot_be_used_is_exit_code_4(tmp_path: Path):
    (tmp_path / "file").touch()
    places = [tmp_path / "file", tmp_path / "file" / "below"]
    if os.geteuid():
        (tmp_path / "closed").mkdir(mode=0o500)
        places.append(tmp_path / "closed" / "data")
    for place in places:
        ran = traced("serve", *FREE_PORTS, "--data-dir", place)
        assert (ran.returncode, ran.stdout) == (4, ""), ran.stderr
        assert str(place) in ran.stderr
        assert "--data-dir" in ran.stderr
        assert "Traceback" not in ran.stderr


def test_a_second_daemon_on_the_same_data_is_refused_and_the_first_goes_on(daemon: DaemonProcess):
    ran = traced("serve", *FREE_PORTS, "--data-dir", daemon.data_dir)
    assert (ran.returncode, ran.stdout) == (4, ""), ran.stderr
    assert "in use" in ran.stderr
    sender = Sender(daemon, 77)
    sender.send_one()
    assert lost_or_partial(daemon, sender.acked) == []
    assert sender.acked == [77]


def test_a_query_without_end_is_killed_while_batches_are_acknowledged(daemon: DaemonProcess):
    sender, stopped = Sender(daemon, 5_000), threading.Event()
    with ThreadPoolExecutor(2) as pool:
        sending = pool.submit(sender.send_until, stopped)
        started = time.monotonic()
        endless = "with recursive n(i) as (select 1 union all select i + 1 from n where i > 0) select count(*) from n, range(1000000)"
        answer = daemon.client.post("/api/v1/query", json={"sql": endless})
        seconds = time.monotonic() - started
        assert daemon.get("/livez") == {"alive": True}
        stopped.set()
        sending.result()
    assert answer.status_code in (400, 408, 504), answer.text
    assert answer.json()["next_safe_actions"]
    assert seconds < 10
    assert sender.refused == []
    assert len(sender.acked) > 5
    assert max(sender.seconds) < 5
    assert lost_or_partial(daemon, sender.acked) == []
    assert _children(daemon.process.pid) == []


def _children(process: int) -> list[int]:
    """Give the processes that a process started and that still run."""
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = place.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == process and fields[0] != "Z":
            found.append(int(place.parent.name))
    return found


def test_telemetry_ports_answer_nothing_else(daemon: DaemonProcess):
    assert daemon.otlp.get("/").status_code == 404
    assert daemon.otlp.get("/api/v1/findings").status_code == 404
    assert daemon.otlp.post("/v1development/profiles", content=b"").status_code == 404
