"""A trace's log records on its page: below its spans, and alone where no span is stored."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pytest
from asgi_client import app_over, ask
from fake_views import NOW_NANO, FakeViews, log, occurrence, span, spans

from traced.model.schema import LOGS
from traced.pages.logs import MAX_BODY_CHARACTERS, LogRow, Logs, logs_of


def records(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=LOGS)


def only(**changed: Any) -> LogRow:
    (row,) = logs_of(records(log(**changed))).rows
    return row


def page_of(views: FakeViews) -> str:
    answer = ask(app_over(views), "/traces/abc", headers={"accept": "text/html"})
    assert answer.status_code == 200, answer.text
    return answer.text


def words_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_a_trace_of_log_records_alone_has_a_page_that_says_so_and_shows_them():
    stored = records(log(body="paid\n\tat <till>", severity_text="WARN", service_name="shop"), log(severity_number=17, body=None, event_name="gone"))
    html = page_of(FakeViews(logs={(0, 0xABC): stored}, occurrences=[occurrence(id="clock_skew", span_id=0)]))
    text = words_of(html)
    assert "No span of this trace is stored, only 2 log records." in text
    assert "2025-10-09 08:53:20.000 WARN shop paid at &lt;till&gt; 0000000000000011" in text
    assert '<span class="tag"><bdi>error</bdi></span>' in html
    assert "unknown_service gone 0000000000000011" in text
    assert "clock_skew" in text
    assert '<table class="tree">' not in html
    assert "broken" not in text
    assert 'href="/api/v1/traces/00000000000000000000000000000abc"' in html


def test_log_records_stand_below_the_spans_and_lead_to_them():
    views = FakeViews(rows={(0, 0xABC): spans(span(0x11))}, logs={(0, 0xABC): records(log(), log(span_id=0x22), log(span_id=0))})
    html = page_of(views)
    assert html.index('<table class="tree">') < html.index('<table class="logs">')
    assert re.findall(r'href="#span-(\w+)"', html) == [f"{0x11:016x}"]
    assert "No span of this trace" not in html


def test_a_trace_without_log_records_has_no_table_of_them():
    html = page_of(FakeViews(rows={(0, 0xABC): spans(span(1))}))
    assert '<table class="logs">' not in html
    assert "Log records 0" in words_of(html)


def test_a_span_of_no_service_has_the_name_that_it_has_everywhere_else():
    assert "unknown_service" in words_of(page_of(FakeViews(rows={(0, 0xABC): spans(span(1, service=""), span(2, 1, service=None))})))


def test_the_earliest_hundred_are_shown_and_the_others_counted():
    stored = records(*(log(body=f"number {i}", time_unix_nano=NOW_NANO - i) for i in range(150)))
    found = logs_of(stored)
    assert [row.body for row in found.rows] == [f"number {i}" for i in range(149, 49, -1)]
    assert found.total == 150
    assert "Showing 100 of 150 log records" in words_of(page_of(FakeViews(logs={(0, 0xABC): stored})))


def test_no_records_give_no_rows():
    assert logs_of(LOGS.empty_table()) == Logs((), 0)


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({"severity_text": "Notice", "severity_number": 10}, "Notice"),
        ({"severity_number": 1}, "trace"),
        ({"severity_number": 12}, "info"),
        ({"severity_number": 13}, "warn"),
        ({"severity_number": 24}, "fatal"),
        ({"severity_number": 25}, ""),
        ({"severity_number": 0, "severity_text": ""}, ""),
        ({"severity_number": None}, ""),
    ],
)
def test_a_severity_is_the_sender_s_word_or_the_name_of_its_number(changed: dict[str, Any], shown: str):
    assert only(**changed).severity == shown


@pytest.mark.parametrize(
    ("own", "observed", "shown"),
    [(7, 9, 7), (0, 9, 9), (0, 0, 0), (None, 9, 9), (2**63 - 1, 9, 2**63 - 1)],
)
def test_a_record_s_time_is_its_own_else_when_it_was_seen(own: int | None, observed: int, shown: int):
    row = only(time_unix_nano=own, observed_time_unix_nano=observed)
    assert row.time_unix_nano == shown
    assert (">unknown<" in page_of(FakeViews(logs={(0, 0xABC): records(log(time_unix_nano=own, observed_time_unix_nano=observed))}))) is (shown == 0)


def test_long_text_is_cut_and_an_absent_one_said():
    assert only(body="x" * 70_000).body == "x" * MAX_BODY_CHARACTERS + "…"
    assert "(no text)" in page_of(FakeViews(logs={(0, 0xABC): records(log(body=None))}))
