"""Starting and stopping the shop, also when something it needs is absent."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing

import pytest

from traced.demo.shop import Shop
from traced.errors import TracedError


@pytest.fixture
def absent() -> str:
    """An address at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_the_load_runs_by_itself_at_its_rate(absent, tmp_path):
    before = set(threading.enumerate())
    with Shop(absent, absent, requests_per_second=20, work_dir=tmp_path) as shop:
        time.sleep(1.0)
        sent = shop.requests_sent
        shop.stop(timeout_seconds=2)
    assert 3 <= sent <= 22
    assert set(threading.enumerate()) <= before
    assert (tmp_path / "queue.sqlite3").exists()


def test_an_absent_daemon_costs_one_warning_and_no_hang(absent, caplog):
    sdk = logging.getLogger("opentelemetry")
    with caplog.at_level(logging.WARNING), Shop(absent, absent, requests_per_second=0) as shop:
        shop.run_requests(5)
        assert shop.drain()
        started = time.monotonic()
        shop.stop(timeout_seconds=1.5)
    assert time.monotonic() - started < 5
    assert len(caplog.records) == 1
    assert "exporters report a problem" in caplog.records[0].getMessage()
    assert sdk.propagate
    assert not sdk.handlers


def test_the_services_can_be_asked_from_outside(absent):
    with Shop(absent, absent, requests_per_second=0) as shop:
        port = int(shop.urls["tax"].rpartition(":")[2])
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            connection.request("GET", "/rates/IS")
            assert json.load(connection.getresponse()) == {"country": "IS", "rate": "0.24"}
        shop.stop(timeout_seconds=0.5)


def test_a_shop_starts_only_once(absent):
    shop = Shop(absent, absent, requests_per_second=0)
    shop.start()
    shop.stop(timeout_seconds=0.5)
    shop.stop()
    with pytest.raises(TracedError, match="started before"):
        shop.start()


@pytest.mark.parametrize("work_dir", ["file", "damaged"])
def test_a_shop_that_cannot_open_its_queue_says_so_and_leaves_no_thread(absent, tmp_path, work_dir):
    (tmp_path / "file").touch()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "queue.sqlite3").write_bytes(b"this is no database" * 100)
    before = set(threading.enumerate())
    with pytest.raises(TracedError, match="queue") as raised:
        Shop(absent, absent, work_dir=tmp_path / work_dir).start()
    assert raised.value.next_safe_actions
    assert set(threading.enumerate()) <= before


def test_without_the_sdk_the_error_says_what_to_install():
    program = """
import sys
sys.modules["opentelemetry.sdk"] = None
from traced.errors import TracedError
import traced.demo.faults
try:
    import traced.demo.shop
except TracedError as error:
    print(error.error_code, *error.next_safe_actions)
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("demo_extra_missing")
    assert "pip install 'traced[demo]'" in done.stdout
