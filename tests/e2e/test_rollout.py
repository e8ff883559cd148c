"""The shop's migration through all of its steps over a real RabbitMQ, and what a daemon says at each: `make rollout`, some six minutes."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from daemon_process import DaemonProcess, ask
from rabbitmq import RabbitBroker, rabbitmq
from thorough import THOROUGH

from traced.demo.rollout import NAME, Rollout, Step, configuration
from traced.demo.rollout_run import RolloutRun, Word
from traced.demo.shop import Shop

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not THOROUGH, reason="takes six minutes: make rollout"),
]

SECONDS = 700.0
AFTER_REMOVAL_SECONDS = 200.0
CHECK = ("migration", "check", NAME, "--gate", "stop-publish")


@dataclass(frozen=True)
class Run:
    """What was said in the course of a run: words of the driver, and of each turn the step, the phase and the answer of a gate."""

    daemon: DaemonProcess
    words: list[Word]
    answers: list[tuple[Step, str, dict[str, Any]]]
    checks: dict[str, tuple[int, str]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    directory = tmp_path_factory.mktemp("rollout")
    config = directory / "traced.yaml"
    with rabbitmq(directory / "rabbitmq") as port:
        # JSON is YAML
        config.write_text(json.dumps({"migrations": [configuration(time.time())]}))
        with DaemonProcess(directory / "data", settle_seconds=2, config=config) as daemon:
            rollout, words, answers, checks = Rollout(), [], [], {}
            broker = RabbitBroker(port)
            with Shop(daemon.ready["otlp_grpc"], daemon.ready["otlp_http"], requests_per_second=6, rollout=rollout, broker=broker) as shop:
                driver = RolloutRun(shop, lambda: daemon.get(f"/api/v1/migrations/{NAME}"))
                began = removed = time.monotonic()
                while time.monotonic() - began < SECONDS and (rollout.step < Step.REMOVE or time.monotonic() - removed < AFTER_REMOVAL_SECONDS):
                    answer = daemon.get(f"/api/v1/migrations/{NAME}")
                    gate = answer["gates"][0]
                    if rollout.step < Step.REMOVE:
                        removed = time.monotonic()
                    if gate["verdict"] not in checks:
                        code, out, _ = ask(*CHECK, "--url", daemon.url)
                        checks[out.partition(":")[0]] = (code, out)
                    words += driver.turn()
                    answers.append((rollout.step, answer["phase"], gate))
                    if words:
                        sys.stderr.write(
                            "".join(f"{word.seconds:5.0f} s  {word.text[:300]}\n" for word in words[-1:] if word.seconds > time.monotonic() - began - 2)
                        )
                    time.sleep(1)
            yield Run(daemon, words, answers, checks)


def test_each_step_is_told_with_its_phase(run: Run):
    phases = [phase for phase, _ in groupby(phase for _, phase, _ in run.answers if phase != "unknown")]
    assert phases == ["not_started", "dual_publish", "consumers_moving", "consumers_moved", "old_removed"]
    first = {phase: step for step, phase, _ in reversed(run.answers)}
    assert first["not_started"] is Step.ADD
    assert first["dual_publish"] is Step.PUBLISH_BOTH
    assert first["consumers_moving"] is Step.MOVE
    assert first["consumers_moved"] >= Step.VERIFY
    assert first["old_removed"] is Step.REMOVE


def test_the_straggler_is_named_then_the_rare_reader_is_waited_for_then_it_is_safe(run: Run):
    until_safe = [gate for _, _, gate in run.answers]
    until_safe = until_safe[: 1 + next(place for place, gate in enumerate(until_safe) if gate["verdict"] == "SAFE")]
    verdicts = [verdict for verdict, _ in groupby(gate["verdict"] for gate in until_safe)]
    assert verdicts[-3:] == ["NOT_SAFE", "NOT_ENOUGH_EVIDENCE", "SAFE"]
    # the last to be seen using the old schema is the one that was left behind
    unsafe = [gate for gate in until_safe if gate["verdict"] == "NOT_SAFE"]
    assert "shipping" in {one["consumer"].split("/")[-1] for one in unsafe[-1]["reasons"] if one["code"] == "old_use_seen"}
    waiting = until_safe[-2]
    assert {one["consumer"].split("/")[-1] for one in waiting["reasons"] if one["consumer"]} == {"reports"}


def test_the_command_line_says_so_with_its_exit_code(run: Run):
    assert {verdict: code for verdict, (code, _) in run.checks.items()} == {"NOT_SAFE": 1, "NOT_ENOUGH_EVIDENCE": 3, "SAFE": 0}
    history = run.daemon.get(f"/api/v1/migrations/{NAME}")["history"]
    assert {"NOT_SAFE", "NOT_ENOUGH_EVIDENCE", "SAFE"} <= {one["verdict"] for one in history}


def test_the_message_graph_shows_both_schemas_and_who_takes_them(run: Run):
    edges = run.daemon.get("/api/v1/graph")["message_graph"]["edges"]
    taken = {(one["destination"], one["consumer"]) for one in edges if one["messages"]}
    assert {(destination, service) for destination in ("orders", "orders.v2") for service in ("billing", "shipping", "reports")} <= taken
    # who has no instrumentation takes nothing that anybody sees
    assert not [one for one in edges if one["consumer"] == "fax"]


def test_the_page_shows_the_matrix(run: Run):
    page = run.daemon.page("/migrations")
    assert NAME in page
    assert "shipping" in page
    assert Path(run.daemon.data_dir, "messages").is_dir()
