"""An unmodified OpenTelemetry SDK for Python that counts its own spans: a queue that overflows is named in the finding."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from traced.daemon import Daemon
from traced.model.finding import Finding

CALLS = 300
SERVICE = Path(__file__).with_name("counting_service.py")


def run(daemon: Daemon, transport: str, name: str, temporality: str = "cumulative") -> dict[str, Any]:
    """Let a process of its own make calls from a service with a tiny queue to one with a large one; give what its SDK counted."""
    arguments = [sys.executable, str(SERVICE), transport, daemon.receiver.grpc_address, daemon.receiver.http_address, name, temporality, str(CALLS)]
    ran = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    counted: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return counted


def wait_for(daemon: Daemon, holds: Callable[[Finding], bool]) -> Finding:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for finding in daemon.ledger.findings():
            if finding.id == "orphan_span" and holds(finding):
                return finding
        time.sleep(0.2)
    raise AssertionError([finding.message for finding in daemon.ledger.findings()])


def wait_for_account(daemon: Daemon, service: str, **counts: int) -> dict[str, Any]:
    until = time.monotonic() + 60
    accounts: list[dict[str, Any]] = []
    while time.monotonic() < until:
        accounts = httpx.get(f"http://{daemon.ready_line()['http']}/api/v1/status", trust_env=False).json()["loss_ledger"]
        for account in accounts:
            if account["service"] == service and counts.items() <= account.items():
                return account
        time.sleep(0.2)
    raise AssertionError(accounts)


@pytest.mark.parametrize(("transport", "temporality"), [("grpc", "cumulative"), ("http", "cumulative"), ("http", "delta")])
def test_the_finding_names_the_loss_that_the_sdk_counted(daemon: Daemon, transport: str, temporality: str) -> None:
    name = f"web-{transport}-{temporality}"
    counted = run(daemon, transport, name, temporality)
    assert counted["dropped"] > 20, "the queue did not overflow"
    said = f"the exporter of {name} (instance {name}-1) dropped {counted['dropped']} spans, queue full"
    finding = wait_for(daemon, lambda f: f.peer == name and said in f.message)
    assert finding.cause == "upstream_loss"
    assert finding.context["queue_capacity"] == 8
    assert "OTEL_BSP_MAX_QUEUE_SIZE, now 8" in finding.how_to_fix
    # the callee's last counts are read a turn later than the ones that the finding speaks of
    callee = wait_for_account(daemon, f"cart-of-{name}", exported=CALLS)
    account = wait_for_account(daemon, name, live=0)
    assert (account["instance"], account["started"], account["queue_capacity"], account["live"]) == (f"{name}-1", 2 * CALLS, 8, 0)
    # the SDK looks at its queue and adds to it in two steps, so a few that it counts as dropped were sent
    assert 0 <= account["exported"] - (2 * CALLS - counted["dropped"]) <= 10
    (loss,) = account["losses"]
    assert (loss["quantity"], loss["reason"], loss["spans"], loss["component"]) == ("dropped", "queue_full", counted["dropped"], "batching_span_processor/0")
    assert (callee["losses"], callee["started"], callee["exported"]) == ([], CALLS, CALLS)
