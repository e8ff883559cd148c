"""The page of migrations: the step, the verdicts and the matrix, with and without anything to show."""

from __future__ import annotations

from asgi_client import app_over, ask
from fake_migrations import MOVED, PUBLISHED, SETTINGS, SILENT, STRAGGLER, FakeMigrations
from fake_views import FakeViews

from traced.pages.migrations import matrix


def page(lines: tuple[str, ...], settings: tuple[dict, ...] = (SETTINGS,)) -> str:
    answer = ask(app_over(FakeViews(), migrations=FakeMigrations(lines, settings)), "/migrations")
    assert answer.status_code == 200
    return answer.text


def test_the_page_says_in_which_step_a_migration_is_and_both_verdicts():
    text = page(MOVED)
    assert '<li class="now" aria-current="step"><span>4</span>' in text
    assert '<div class="gate verdict-SAFE">' in text
    assert '<div class="gate verdict-NOT_ENOUGH_EVIDENCE">' in text


def test_who_still_takes_the_old_schema_comes_first_among_the_consumers():
    (report,) = FakeMigrations(STRAGGLER).reports()
    rows = matrix(report)
    assert [(row.role, row.service, sorted(row.cells)) for row in rows] == [
        ("producer", "order", ["new", "old"]),
        ("consumer", "shipping", ["old"]),
        ("consumer", "billing", ["new"]),
    ]
    assert rows[0].note == "100.0% of its messages go out in both"


def test_who_is_listed_and_was_not_seen_has_a_row_that_says_so():
    (report,) = FakeMigrations(SILENT).reports()
    assert [(row.service, row.note) for row in matrix(report) if row.role == "consumer"] == [("shipping", "listed, and not seen"), ("billing", "")]
    assert "listed, and not seen" in page(SILENT)


def test_names_from_senders_are_text():
    hostile = {**SETTINGS, "consumers": ["<script>alert(1)</script>"]}
    text = page((*PUBLISHED, "'<script>alert(1)</script>' takes orders.v1 x450"), (hostile,))
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text


def test_without_any_migration_the_page_says_how_to_have_one():
    text = page((), ())
    assert "No migration is configured." in text
    assert "None was found either" in text


def test_what_was_found_is_shown_with_the_configuration_to_add():
    text = page(PUBLISHED, ())
    assert "Found, and not configured" in text
    assert "orders.v1" in text
