"""What the daemon says of its own health."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from asgi_client import app_over, ask
from fake_views import FakeViews

from traced.analysis.waiting import DETECTORS
from traced.config import Settings
from traced.daemon import Daemon
from traced.detectors import detector_ids


def settings(data_dir: Path) -> Settings:
    """Give settings for a daemon on free ports."""
    free = "127.0.0.1:0"
    return Settings(receiver={"otlp_grpc": free, "otlp_http": free}, http={"listen": free}, store={"data_dir": data_dir})  # type: ignore[arg-type]


def test_where_halves_of_calls_cannot_be_matched_the_detectors_that_are_blind_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def no_matching(*_: Any) -> Any:
        raise RuntimeError("halves that cannot be matched")

    daemon = Daemon(settings(tmp_path / "data"))
    daemon.start()
    try:
        waiting = daemon.analysis._passes.waiting
        monkeypatch.setattr(waiting.propagation, "decide", no_matching)
        assert waiting.decide(0).failed == DETECTORS
        status = daemon.status()
    finally:
        daemon.stop()
    assert {detector.id: detector.errors for detector in status.detectors} == {name: int(name in DETECTORS) for name in detector_ids()}
    assert f"Detectors failing</dt><dd>{len(DETECTORS)} of {len(detector_ids())}</dd>" in ask(app_over(FakeViews(now=status)), "/").text


def test_versions_of_messages_are_read_as_the_migrations_say(tmp_path: Path):
    sides = {"old": {"destination": "orders", "version": "1"}, "new": {"destination": "orders.new", "attribute": {"order.format": "2"}}}
    configured = Settings(**settings(tmp_path / "data").model_dump(exclude_unset=True), migrations=[{"name": "orders", **sides}])  # type: ignore[arg-type]
    daemon = Daemon(configured)
    assert [rule.name for rule in daemon.analysis._passes.messages._rules.rules] == ["orders"]
    assert "order.format" in daemon.store._message_keys
    daemon.analysis._workbench.close()
