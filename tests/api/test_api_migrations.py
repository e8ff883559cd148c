"""Migrations over the JSON API: how they stand, and the verdict of a gate."""

from __future__ import annotations

from typing import Any

import pytest
from asgi_client import app_over, ask
from fake_migrations import MOVED, PUBLISHED, SILENT, STRAGGLER, FakeMigrations
from fake_views import FakeViews

from traced.model.migration import Code, Gate
from traced.model.verdict import Acceptance

CHECK = "/api/v1/migrations/orders/check"


def over(lines: tuple[str, ...], **changed: Any) -> tuple[FakeMigrations, Any]:
    migrations = FakeMigrations(lines, **changed)
    return migrations, app_over(FakeViews(), migrations=migrations)


@pytest.mark.parametrize(
    ("lines", "verdict", "phase"),
    [
        (MOVED, "SAFE", "consumers_moved"),
        (STRAGGLER, "NOT_SAFE", "consumers_moving"),
        (SILENT, "NOT_ENOUGH_EVIDENCE", "consumers_moving"),
    ],
)
def test_the_verdict_of_a_gate_comes_with_every_condition(lines: tuple[str, ...], verdict: str, phase: str):
    _, app = over(lines)
    answer = ask(app, CHECK, "POST", json={"gate": "stop-publish"}).json()
    assert answer["verdict"] == verdict
    assert {"met"} == {one["state"] for one in answer["conditions"]} if verdict == "SAFE" else answer["reasons"]
    listed = ask(app, "/api/v1/migrations").json()
    assert [(one["name"], one["phase"], one["gates"][0]["verdict"]) for one in listed["migrations"]] == [("orders", phase, verdict)]


def test_one_migration_shows_who_takes_what_and_the_verdicts_that_were_asked_for():
    _, app = over(STRAGGLER)
    ask(app, CHECK, "POST", json={"gate": "remove-schema"})
    answer = ask(app, "/api/v1/migrations/orders").json()
    assert {(one["service"], one["side"], one["messages"]) for one in answer["consumers"]} == {("billing", "new", 450), ("shipping", "old", 450)}
    assert [(one["service"], one["publishes"]) for one in answer["producers"]] == [("order", "both")]
    assert [(one["gate"], one["verdict"], one["explicit"]) for one in answer["history"]] == [("remove-schema", "NOT_SAFE", True)]


def test_what_is_accepted_is_printed_and_makes_no_safe():
    migrations, app = over(STRAGGLER)
    sent = {"gate": "stop-publish", "accept": [{"code": "old_use_seen", "reason": "it is only a test"}]}
    answer = ask(app, CHECK, "POST", json=sent).json()
    assert (answer["verdict"], answer["accepted"]) == ("NOT_SAFE", [{"code": "old_use_seen", "reason": "it is only a test"}])
    assert migrations.asked == [("orders", Gate.STOP_PUBLISH, (Acceptance(Code.OLD_USE_SEEN, "it is only a test"),))]


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        ({}, "gate 'None' is none of"),
        ({"gate": "remove"}, "gate 'remove' is none of"),
        ({"gate": ["stop-publish"]}, "is none of"),
        ({"gate": "stop-publish", "force": True}, "must be an object with `gate`"),
        (["stop-publish"], "must be an object"),
        ({"gate": "stop-publish", "accept": "all"}, "must be a list"),
        ({"gate": "stop-publish", "accept": [{"code": "old_use_seen"}]}, "must have a `code` and a `reason`"),
        ({"gate": "stop-publish", "accept": [{"code": "all", "reason": "hurry"}]}, "code 'all' is none of"),
        ({"gate": "stop-publish", "accept": [{"code": "old_use_seen", "reason": " "}]}, "must have a `code` and a `reason`"),
        ({"gate": "stop-publish", "accept": [{"code": "old_use_seen", "reason": "x"}] * 21}, "at most 20"),
    ],
)
def test_a_check_that_cannot_be_understood_is_no_verdict(sent: Any, words: str):
    migrations, app = over(MOVED)
    answer = ask(app, CHECK, "POST", json=sent)
    assert answer.status_code == 400
    assert words in answer.json()["message"]
    assert answer.json()["next_safe_actions"]
    assert migrations.asked == []


def test_a_body_that_is_not_json_is_no_verdict():
    _, app = over(MOVED)
    assert ask(app, CHECK, "POST", content=b"{", headers={"content-type": "application/json"}).status_code == 400


@pytest.mark.parametrize(("path", "method"), [("/api/v1/migrations/other", "GET"), ("/api/v1/migrations/other/check", "POST")])
def test_a_migration_that_is_not_configured_is_not_found(path: str, method: str):
    _, app = over(MOVED)
    answer = ask(app, path, method, json={"gate": "stop-publish"} if method == "POST" else None)
    assert (answer.status_code, answer.json()["error_code"]) == (404, "migration_not_found")


def test_what_nobody_configured_is_found_with_the_configuration_to_add():
    _, app = over(PUBLISHED, settings=())
    (found,) = ask(app, "/api/v1/migrations").json()["found"]
    assert "orders.v1" in found["configuration"]
    assert "consumers:" in found["configuration"]
