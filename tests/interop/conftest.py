"""A whole daemon on free ports, for SDKs to export to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from traced.config import load
from traced.daemon import Daemon


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A running daemon whose data lies in a temporary directory."""
    directory: Path = tmp_path_factory.mktemp("daemon")
    flags = {
        "receiver": {"otlp_grpc": "127.0.0.1:0", "otlp_http": "127.0.0.1:0"},
        "http": {"listen": "127.0.0.1:0"},
        "store": {"data_dir": directory},
        "analysis": {"settle_seconds": 1.0},
    }
    running = Daemon(load(flags=flags))
    running.start()
    yield running
    running.stop()
