"""What is found in real traces has been read: `docs/readings.md` says of each finding whether it is right, and of nothing else."""

import re
from collections import Counter
from typing import NamedTuple

import pytest
from documentation.generate import DOCS
from shared_data import analyzed, found, needs_data

TEXT = (DOCS / "readings.md").read_text(encoding="utf-8")
WHOLE = ("dsb_hotel", "dsb_media", "dsb_social", "node_chain", "hotrod", "trainticket_zipkin_v1")
"""Sets that lack nothing."""
SETS = (*WHOLE, "zipkin_real", "opensearch_otel", "datadog_messaging", "genai")


class Reading(NamedTuple):
    """One row: a finding, where it was looked at, and what the reader says of it."""

    level: str
    id: str
    cause: str
    service: str
    peer: str
    name: str
    count: int
    trace_id: str
    span_id: str
    verdict: str


def _readings(name: str) -> list[Reading]:
    section = TEXT.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in section.splitlines() if re.match(r"\| (violation|improvement|information) \|", line)
    ]
    ids = [re.fullmatch(r"`([0-9a-f]{32})` `([0-9a-f]{16})`", row[7]) for row in rows]
    assert all(ids), name
    return [Reading(*("" if c == "-" else c for c in row[:6]), int(row[6]), *(at.groups() if at else ()), row[8]) for row, at in zip(rows, ids, strict=True)]


def test_every_set_has_a_section_and_no_other_has_findings():
    sections = re.findall(r"^## (.+)$", TEXT, re.MULTILINE)
    assert [s for s in sections if _readings(s) or s in SETS] == list(SETS)


@pytest.mark.parametrize("name", SETS)
def test_the_table_at_the_top_counts_the_verdicts_below(name: str):
    counts = re.search(rf"^\| \[{name}\]\(#{name}\) \| [\d,]+ \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|", TEXT, re.MULTILINE)
    assert counts
    read = _readings(name)
    verdicts = Counter(one.verdict for one in read)
    assert set(verdicts) <= {"right", "wrong", "undecidable"}
    expected = [len(read), sum(one.count for one in read), *(verdicts[v] for v in ("right", "wrong", "undecidable"))]
    assert [int(n) for n in counts.groups()] == expected


@pytest.mark.parametrize("name", WHOLE)
def test_a_set_that_lacks_nothing_has_no_violation_and_nothing_wrong(name: str):
    assert [one for one in _readings(name) if one.level == "violation" or one.verdict != "right"] == []


def test_no_violation_is_known_to_be_wrong():
    assert [one for name in SETS for one in _readings(name) if one.level == "violation" and one.verdict == "wrong"] == []


@needs_data
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", SETS)
def test_what_is_found_in_a_set_is_what_was_read(name: str):
    report, read = analyzed(f"otlp/{name}"), _readings(name)
    said = {(str(f.level), f.id, f.cause, f.service, f.peer or "") for f in report.findings}
    assert said == {one[:5] for one in read}
    for detector in {one.id for one in read}:
        assert {(one.trace_id, one.span_id) for one in read if one.id == detector} <= set(found(report, detector))
