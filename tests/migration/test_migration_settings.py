"""`migrations:` of the configuration file: what it means, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from traced.config import load
from traced.errors import ConfigurationError
from traced.model.migration import AttestationKind, Listed, Migration, Shape, Side

WHOLE = """
migrations:
  - name: order-created-v2
    system: kafka
    environment: production
    shape: two_messages
    old: {destination: orders, version: 1}
    new: {destination: orders, version: ["2", v2]}
    consumers:
      - billing
      - {service: shipping, group: close, longest_period: 7d, traces_per_run: 3}
      - {service: fax, decommissioned: {by: ana, at: 2026-11-01}}
      - {service: mirror, role: relay}
      - {service: loadgen, namespace: tests, excluded: test traffic}
    longest_period: 1d12h
    confidence: 0.99
    version_attributes: [message.schema.version, destination]
    disposition_attribute: my.disposition
    sampling: {billing: 0.10, "*": 1}
    max_unseen_share: 0.02
    min_window: 3w
    valid_for: 90m
    max_unknown: 0.001
    tolerated_gap: 10min
    other_versions: [cancelled.1]
    cutoff: 2026-11-10T00:00:00Z
    sunset: 2027-01-01T00:00:00+01:00
    attestations: [{kind: retention_elapsed, at: 2026-11-18T09:00:00Z, by: ana}]
"""


def read(tmp_path: Path, text: str) -> tuple[Migration, ...]:
    file = tmp_path / "traced.yaml"
    file.write_text(text, encoding="utf-8")
    return load(file).configured_migrations()


def test_everything_that_can_be_said(tmp_path: Path) -> None:
    (one,) = read(tmp_path, WHOLE)
    assert (one.name, one.system, one.environment, one.shape) == ("order-created-v2", "kafka", "production", Shape.TWO_MESSAGES)
    assert (one.old, one.new) == (Side(("orders",), (), ("1",)), Side(("orders",), (), ("2", "v2")))
    assert one.consumers == (
        Listed("billing"),
        Listed("shipping", group="close", longest_period_seconds=7 * 86400.0, traces_per_run=3),
        Listed("fax", decommissioned_by="ana", decommissioned_unix_seconds=1793491200.0),
        Listed("mirror", relay=True),
        Listed("loadgen", namespace="tests", excluded="test traffic"),
    )
    assert (one.longest_period_seconds, one.min_window_seconds, one.valid_for_seconds, one.tolerated_gap_seconds) == (129600, 21 * 86400, 5400, 600)
    assert (one.confidence, one.max_unseen_share, one.max_unknown, one.sampling) == (0.99, 0.02, 0.001, {"billing": 0.1, "*": 1.0})
    assert (one.version_attributes, one.disposition_attribute, one.other_versions) == (
        ("message.schema.version", "destination"),
        "my.disposition",
        ("cancelled.1",),
    )
    assert (one.cutoff_unix_seconds, one.sunset_unix_seconds) == (1794268800.0, 1798758000.0)
    assert [(a.kind, a.by, a.expires_unix_seconds) for a in one.attestations] == [(AttestationKind.RETENTION_ELAPSED, "ana", None)]


def test_the_least_that_can_be_said(tmp_path: Path) -> None:
    (one,) = read(tmp_path, "migrations: [{name: m, old: {destination: a}, new: {destination: b}}]")
    assert (one.shape, one.consumers, one.confidence, one.min_window_seconds, one.max_unknown) == (Shape.TWO_DESTINATIONS, (), 0.95, 14 * 86400, 0.0)
    assert one.version_attributes[0] == "message.schema.version"
    assert not one.contract


def test_no_migrations(tmp_path: Path) -> None:
    assert read(tmp_path, "") == read(tmp_path, "migrations:\n") == read(tmp_path, "migrations: []") == ()


def test_a_contract_over_http(tmp_path: Path) -> None:
    old, new = "{route: /orders, header: {Api-Version: '1'}}", "{header: {Api-Version: ['2', '3']}, attribute: {api.v: '2'}}"
    (one,) = read(tmp_path, f"migrations: [{{name: m, shape: two_messages, old: {old}, new: {new}}}]")
    assert one.contract
    assert (one.old, one.new) == (Side((), ("/orders",), ("1",)), Side((), ("/orders",), ("2", "3")))
    assert one.version_attributes[:2] == ("http.request.header.api-version", "api.v")


def test_pubsub_needs_its_snapshots_attested(tmp_path: Path) -> None:
    (one,) = read(tmp_path, "migrations: [{name: m, system: gcp_pubsub, old: {destination: a}, new: {destination: b}}]")
    assert AttestationKind.SNAPSHOTS_EXPIRED in one.required_attestations


def test_versions_of_other_migrations_on_the_channel_are_known(tmp_path: Path) -> None:
    first, second = read(
        tmp_path,
        """
migrations:
  - {name: a, shape: two_messages, old: {destination: orders, version: 1}, new: {version: 2}}
  - {name: b, shape: two_messages, old: {destination: orders, version: 2}, new: {version: 3}}
""",
    )
    assert (first.other_versions, second.other_versions) == (("3",), ("1",))


def test_from_the_environment_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "TRACED_MIGRATIONS", '[{"name": "m", "old": {"destination": "a"}, "new": {"destination": "b"}, "min_window": "2d", "cutoff": "2026-11-10T00:00:00Z"}]'
    )
    (one,) = load().configured_migrations()
    assert (one.min_window_seconds, one.cutoff_unix_seconds) == (2 * 86400, 1794268800.0)


SIDES = "old: {destination: a}, new: {destination: b}"
TWICE = f"[{{name: m, {SIDES}}}, {{name: n, {SIDES}}}]"
BACK = "[{name: m, old: {destination: a}, new: {destination: b}}, {name: n, old: {destination: b}, new: {destination: a}}]"
ONE = "[{{name: m, {}}}]"

WRONG = {
    "names twice": (
        f"[{{name: m, {SIDES}}}, {{name: m, old: {{destination: c}}, new: {{destination: d}}}}]",
        "two migrations are called 'm'; give each its own name",
    ),
    "one migration twice": (TWICE, "'m' and 'n' are the same migration; keep one"),
    "there and back": (BACK, "'n' leads back to what 'm' leads away from"),
    "one place for both": (ONE.format("shape: two_destinations, old: {destination: a}, new: {destination: a}"), "old equals new: 'a' is the place of both"),
    "one version for both": (
        ONE.format("shape: two_messages, old: {destination: a, version: 1}, new: {version: '1'}"),
        "old equals new: both have the version '1'",
    ),
    "no versions": (ONE.format("shape: two_messages, old: {destination: a}, new: {destination: a}"), "both `old` and `new` need a `version`"),
    "no shape": (ONE.format("old: {destination: a, version: 1}, new: {version: 2}"), "say how old and new live side by side: `shape: two_messages`"),
    "no place": (ONE.format("old: {version: 1}, new: {version: 2}"), "say where the messages are: `old: {destination: NAME"),
    "destination and route": (ONE.format("old: {destination: a, route: /a}, new: {destination: b}"), "make two of it"),
    "a destination and a route": (ONE.format("old: {destination: a}, new: {route: /b}"), "both have to be of one kind"),
    "a consumer twice": (ONE.format(f"{SIDES}, consumers: [x, {{service: x}}]"), "the consumer 'x' is listed twice; keep one"),
    "excluded and a relay": (ONE.format(f"{SIDES}, consumers: [{{service: x, role: relay, excluded: y}}]"), "say one of them"),
    "a number for a duration": (ONE.format(f"{SIDES}, min_window: 14"), "14 is no duration; write a number with its unit, as 7d"),
    "words for a duration": (ONE.format(f"{SIDES}, min_window: 7 days or so"), "is no duration"),
    "eleven years": (ONE.format(f"{SIDES}, min_window: 4000d"), "longer than ten years"),
    "a version with a point": (
        ONE.format("shape: two_messages, old: {destination: a, version: 1.10}, new: {version: 2}"),
        "1.1 may have been written otherwise; write it in quotes",
    ),
    "a time without offset": (ONE.format(f"{SIDES}, cutoff: 2026-11-10T00:00:00"), "says no offset; write it as 2026-11-10T00:00:00Z"),
    "no time": (ONE.format(f"{SIDES}, cutoff: soon"), "'soon' is no time"),
    "a probability above 1": (ONE.format(f"{SIDES}, sampling: {{x: 10}}"), "less than or equal to 1"),
    "a probability of 0": (ONE.format(f"{SIDES}, sampling: {{x: 0}}"), "greater than 0"),
    "an unknown attestation": (ONE.format(f"{SIDES}, attestations: [{{kind: fine, at: 2026-11-10, by: a}}]"), "'retention_elapsed'"),
    "an unknown shape": (ONE.format(f"{SIDES}, shape: three"), "'two_destinations'"),
    "a name with a space": ("[{name: a b, old: {destination: a}, new: {destination: b}}]", "should match pattern"),
    "no list": ("{name: m}", "valid tuple"),
    "a wrong key": (ONE.format(f"{SIDES}, consumer: [x]"), "(did you mean 'migrations.0.consumers'?)"),
    "a wrong key of a consumer": (ONE.format(f"{SIDES}, consumers: [{{service: x, groop: y}}]"), "(did you mean 'migrations.0.consumers.0.group'?)"),
}


@pytest.mark.parametrize(("text", "says"), WRONG.values(), ids=list(WRONG))
def test_what_is_wrong_is_said_with_what_to_do(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(tmp_path, f"migrations: {text}")
    assert says in refused.value.message
    assert "Value error" not in refused.value.message
    assert refused.value.next_safe_actions


def test_one_migration_may_be_in_two_environments(tmp_path: Path) -> None:
    text = f"migrations: [{{name: a, environment: staging, {SIDES}}}, {{name: b, environment: production, {SIDES}}}]"
    assert [one.name for one in read(tmp_path, text)] == ["a", "b"]


@pytest.mark.parametrize("name", ["TRACED_MIGRATION", "TRACED_MIGRATIONS_NAME"])
def test_variables_that_were_meant_for_migrations(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "x")
    if name == "TRACED_MIGRATION":
        load()
        return
    with pytest.raises(ConfigurationError, match="TRACED_MIGRATIONS"):
        load()
