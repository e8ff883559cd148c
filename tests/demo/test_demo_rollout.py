"""The shop's migration of orders: what is published and read at each of its steps."""

from __future__ import annotations

from typing import Any

import pytest

from traced.config.migrations import MigrationSettings
from traced.demo.rollout import NEW, OLD, READERS, STEP_SECONDS, WHAT_HAPPENS, Rollout, Step, configuration
from traced.demo.rollout_run import RolloutRun

PUBLISHED = {Step.ADD: (OLD,), Step.PUBLISH_BOTH: (OLD, NEW), Step.MOVE: (OLD, NEW), Step.VERIFY: (OLD, NEW), Step.REMOVE: (NEW,)}
READ = {
    "billing": (OLD, OLD, NEW, NEW, NEW),
    "shipping": (OLD, OLD, OLD, NEW, NEW),
    "reports": (OLD, OLD, NEW, NEW, NEW),
    "fax": (OLD, OLD, OLD, None, None),
}


@pytest.mark.parametrize("step", Step)
def test_each_step_says_what_is_published_and_what_everybody_reads(step: Step):
    rollout = Rollout()
    rollout.go_to(step)
    assert rollout.published() == PUBLISHED[step]
    assert {reader.service: rollout.read_by(reader) for reader in READERS} == {service: read[step - 1] for service, read in READ.items()}


@pytest.mark.parametrize("step", Step)
def test_what_somebody_reads_is_published_at_every_step(step: Step):
    rollout = Rollout()
    rollout.go_to(step)
    assert {read for reader in READERS if (read := rollout.read_by(reader))} <= set(rollout.published())


def test_every_step_has_its_words():
    assert set(WHAT_HAPPENS) == set(Step)


class Shop:
    """Notes where it was taken."""

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def go_to(self, step: Step) -> None:
        self.steps.append(step)


def answer(phase: str, verdict: str) -> dict[str, Any]:
    return {"phase": phase, "gates": [{"gate": "stop-publish", "verdict": verdict, "sentence": f"{verdict}, because."}]}


def test_the_run_goes_by_the_clock_and_stops_publishing_the_old_schema_only_once_that_is_safe():
    shop, now, said = Shop(), [0.0], ["not_started", "NOT_SAFE"]
    run = RolloutRun(shop, lambda: answer(*said), lambda: now[0])
    words = []
    for seconds in range(0, 200, 10):
        now[0] = float(seconds)
        if seconds == 150:
            said[:] = ["consumers_moved", "SAFE"]
        words += run.turn()
    assert shop.steps == list(Step)
    assert [(word.seconds, word.step) for word in words if word.text.startswith("step ")] == [
        (0, Step.ADD),
        (20, Step.PUBLISH_BOTH),
        (40, Step.MOVE),
        (80, Step.VERIFY),
        (150, Step.REMOVE),
    ]
    assert [(word.seconds, word.phase, word.verdict) for word in words if word.verdict] == [
        (0, "not_started", "NOT_SAFE"),
        (150, "consumers_moved", "SAFE"),
    ]


def test_the_old_schema_stays_published_where_it_is_never_safe_and_stays_gone_where_it_was():
    now, said, shop = [1000.0], ["NOT_SAFE"], Shop()
    run = RolloutRun(shop, lambda: answer("consumers_moving", said[0]), lambda: now[0])
    now[0] += 5_000
    run.turn()
    assert shop.steps == [Step.VERIFY]
    for verdict in ("SAFE", "NOT_SAFE"):
        said[0] = verdict
        run.turn()
    assert shop.steps == [Step.VERIFY, Step.REMOVE]


def test_the_configuration_is_one_and_says_when_the_fax_is_gone():
    made = MigrationSettings.model_validate(configuration(1_800_000_000.0))
    (fax,) = (one for one in made.consumers if one.service == "fax")
    assert fax.decommissioned is not None
    assert fax.decommissioned.at.timestamp() == 1_800_000_000.0 + sum(STEP_SECONDS.values())
    assert {one.service for one in made.consumers} == {reader.service for reader in READERS}
