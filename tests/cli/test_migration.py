"""`traced migration` against the real JSON API: what is printed, and the exit code, which is the same for every format."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, cast

import pytest
from cli_runs import Run, served
from fake_migrations import MOVED, PUBLISHED, SILENT, STRAGGLER, FakeMigrations

from traced.api.app import build_app
from traced.api.routes import api_routes
from traced.api.sources import Sources

Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve migrations, and give the URL."""
    with ExitStack() as stack:

        def serving(lines: tuple[str, ...], **changed: Any) -> str:
            nothing = cast("Any", None)
            migrations = FakeMigrations(lines, **changed)
            app = build_app(api_routes(Sources(nothing, nothing, nothing, nothing, nothing, nothing, migrations, nothing)), bound_host="127.0.0.1")
            return stack.enter_context(served(app))

        yield serving


CHECK = ("migration", "check", "orders", "--gate", "stop-publish")


@pytest.mark.parametrize(("lines", "verdict", "code"), [(MOVED, "SAFE", 0), (STRAGGLER, "NOT_SAFE", 1), (SILENT, "NOT_ENOUGH_EVIDENCE", 3)])
def test_the_exit_code_is_the_verdict_in_text_and_json(run: Run, serve: Serve, lines: tuple[str, ...], verdict: str, code: int) -> None:
    url = serve(lines)
    text, told = run(*CHECK, "--url", url), run(*CHECK, "--url", url, "--format", "json")
    assert (text.code, told.code) == (code, code)
    assert text.out.startswith(f"{verdict}: orders, stop-publish\n")
    assert json.loads(told.out)["verdict"] == verdict


def test_a_check_prints_every_condition_with_traces_and_what_would_settle_it(run: Run, serve: Serve) -> None:
    ran = run(*CHECK, "--url", serve(STRAGGLER))
    assert "BROKEN   old_use_seen: " in ran.out
    assert "met      no_inventory: " in ran.out
    assert "             trace " in ran.out
    assert "what would settle it:" in ran.out
    assert "shipping" in ran.out


def test_report_only_leaves_with_0_and_says_what_it_hides(run: Run, serve: Serve) -> None:
    ran = run(*CHECK, "--report-only", "--url", serve(STRAGGLER))
    assert ran.code == 0
    assert ran.out.startswith("NOT_SAFE: ")
    assert "without it the exit code is 1" in ran.err


def test_what_is_accepted_is_printed_and_changes_nothing(run: Run, serve: Serve) -> None:
    ran = run(*CHECK, "--accept", "old_use_seen: only a test", "--url", serve(STRAGGLER))
    assert ran.code == 1
    assert "accepted, without effect on the verdict: old_use_seen (only a test)" in ran.out


@pytest.mark.parametrize("accept", ["old_use_seen", ":why", "old_use_seen:", "nothing_of_the_kind: why"])
def test_an_acceptance_that_is_none_is_exit_code_2(run: Run, serve: Serve, accept: str) -> None:
    ran = run(*CHECK, "--accept", accept, "--url", serve(MOVED))
    assert ran.code == 2
    assert ran.out == ""


def test_a_migration_that_is_not_configured_is_exit_code_2(run: Run, serve: Serve) -> None:
    assert run("migration", "check", "other", "--gate", "stop-publish", "--url", serve(MOVED)).code == 2
    assert run("migration", "show", "other", "--url", serve(MOVED)).code == 2


def test_a_gate_is_asked_for_by_name(run: Run) -> None:
    assert run("migration", "check", "orders").code == 2
    assert run("migration", "check", "orders", "--gate", "all").code == 2


def test_without_a_daemon_it_is_exit_code_4(run: Run) -> None:
    assert run(*CHECK, "--url", "http://127.0.0.1:9").code == 4


def test_the_list_shows_phase_and_verdicts_and_what_nobody_configured(run: Run, serve: Serve) -> None:
    lines = run("migration", "list", "--url", serve(MOVED)).out.splitlines()
    assert lines[0].split() == ["name", "phase", "stop-publish", "remove-schema"]
    assert lines[1].split() == ["orders", "consumers_moved", "SAFE", "NOT_ENOUGH_EVIDENCE"]
    found = run("migration", "list", "--url", serve(PUBLISHED, settings=())).out
    assert "no migration is configured" in found
    assert "consumers:" in found


def test_one_migration_shows_who_sends_and_takes_what_and_the_verdicts_before(run: Run, serve: Serve) -> None:
    url = serve(STRAGGLER)
    run(*CHECK, "--url", url)
    out = run("migration", "show", "orders", "--url", url).out
    assert "order" in out
    assert [line.split()[:4] for line in out.splitlines() if line.startswith("shipping")] == [["shipping", "unknown", "old", "450"]]
    assert "stop-publish: NOT_SAFE." in out
    assert "verdicts before:" in out
    assert json.loads(run("migration", "show", "orders", "--url", url, "--format", "json").out)["name"] == "orders"
