"""The shop's migration of orders: what is published and read at each of its steps."""

from __future__ import annotations

import pytest

from traced.demo.rollout import NEW, OLD, READERS, WHAT_HAPPENS, Rollout, Step

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
