"""Messages of a real set, as they were read by hand in docs/messages.md."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from shared_data import analyzed, found, needs_data

pytestmark = [needs_data, pytest.mark.timeout(300)]
SET = "otlp/datadog_messaging"


def taken() -> Counter[tuple[str, bool]]:
    """Count what was taken by system, and whether its producer is known."""
    counts: Counter[tuple[str, bool]] = Counter()
    for edge in analyzed(SET).message_edges:
        if edge.key.consumer:
            counts[edge.key.system, bool(edge.key.producer)] += edge.counts.messages
    return counts


def test_what_is_taken_and_joined_is_what_was_read():
    assert taken() == {
        ("gcp_pubsub", True): 4,
        ("gcp_pubsub", False): 3,
        ("servicebus", True): 8,
        ("servicebus", False): 16,
        ("eventhubs", True): 4,
        ("eventhubs", False): 8,
        ("kafka", True): 1,
        ("kafka", False): 26,
        ("celery", False): 2,
        ("", True): 1,
    }


def test_the_page_says_so():
    page = (Path(__file__).resolve().parents[2] / "docs" / "messages.md").read_text(encoding="utf-8")
    for system in ("gcp_pubsub", "servicebus", "eventhubs", "kafka", "celery"):
        line = next(line for line in page.splitlines() if line.startswith(f"| `{system}` |"))
        _, _, _, all_, joined, *_ = (part.strip() for part in line.split("|"))
        assert int(all_) == taken()[system, True] + taken()[system, False], system
        assert int(joined) == taken()[system, True], system


def test_links_that_lead_nowhere_name_nobody():
    report = analyzed(SET)
    assert found(report, "missing_producer_span") == []
    named = {(edge.key.producer, edge.key.consumer) for edge in report.message_edges if edge.key.producer and edge.key.consumer}
    assert named == {
        ("azure_eventhubs", "test-func"),
        ("azure_servicebus", "test-func"),
        ("ddtrace_subprocess_dir", "ddtrace_subprocess_dir"),
        ("kafka", "kafka"),
        ("tests.contrib.google_cloud_pubsub", "tests.contrib.google_cloud_pubsub"),
    }
