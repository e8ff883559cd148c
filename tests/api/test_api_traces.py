"""A trace of more spans than an answer holds: the earliest are there, and what is not there is not called missing."""

from __future__ import annotations

import pytest
from asgi_client import app_over, ask
from fake_views import FakeViews, log, span, spans

from traced.api import routes
from traced.model.schema import LOGS
from traced.pages import routes as page_routes

ROWS = [span(1, 6), span(2, 1), span(3, 99), span(4, 1), span(5, 1), span(6)]
"""The root began last, and 99 never came."""


@pytest.mark.parametrize(
    ("rows", "complete"), [(ROWS, False), ([r for r in ROWS if r["parent_span_id"] != 99], True)], ids=["one is missing", "none is missing"]
)
def test_a_parent_that_is_stored_and_not_in_the_answer_is_not_missing(rows: list, complete: bool, monkeypatch: pytest.MonkeyPatch):  # noqa: FBT001
    monkeypatch.setattr(routes, "MAX_SPANS", 3)
    views = FakeViews(rows={(0, 0xABC): spans(*rows)})
    body = ask(app_over(views), "/api/v1/traces/abc").json()
    assert (len(body["spans"]), body["total_spans"], body["truncated"], body["complete"]) == (3, len(rows), True, complete)


def test_log_records_beyond_the_limit_are_counted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(routes, "MAX_SPANS", 3)
    views = FakeViews(rows={(0, 0xABC): spans(span(1))}, logs={(0, 0xABC): LOGS.empty_table().from_pylist([log()] * 5, schema=LOGS)})
    body = ask(app_over(views), "/api/v1/traces/abc").json()
    assert (len(body["logs"]), body["total_logs"], body["total_spans"], body["truncated"], body["complete"]) == (3, 5, 1, True, True)


def test_the_page_says_what_it_read_and_where_a_parent_was_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(page_routes, "MAX_SPANS", 3)
    html = ask(app_over(FakeViews(rows={(0, 0xABC): spans(*ROWS)})), "/traces/abc", headers={"accept": "text/html"}).text
    assert "Only the earliest 3 of 6 spans were read" in html
    assert html.count("its parent was not read") == 1
    assert html.count("missing span</strong>") == 1
    assert "<dd>broken</dd>" in html
    monkeypatch.undo()
    html = ask(app_over(FakeViews(rows={(0, 0xABC): spans(*ROWS)})), "/traces/abc", headers={"accept": "text/html"}).text
    assert "were read" not in html
    assert "not read" not in html
