"""The simulation that measures verdicts: its worlds are drawn by the seed alone, and a few of each kind keep the bar."""

from __future__ import annotations

import numpy as np
import pytest

from eval_migration.simulate import by_sampling, interval, judged, of_kind, rows
from eval_migration.traffic import Stream, observed, pattern
from eval_migration.truths import KINDS, world
from traced.model.migration import Verdict

NOBODY_KNOWS = {name for name, kind in KINDS.items() if kind.about != "declared"}


def chance(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if not kind.safe and name not in NOBODY_KNOWS])
def test_what_the_operator_knows_is_never_said_to_be_safe(kind: str) -> None:
    assert of_kind(kind, 4, 1, 1).safe == 0


def test_some_worlds_that_are_safe_are_said_to_be() -> None:
    assert of_kind("moved_long_ago", 12, 1, 1).safe > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_world_is_the_same_for_the_same_seed(kind: str) -> None:
    assert judged(world(kind, chance(3))) == judged(world(kind, chance(3)))


def test_what_is_sampled_is_a_share_of_what_happens() -> None:
    hours = 24 * 100
    one = Stream("consumer", "a", "x", per_day=1000, probability=0.1, batch=3)
    table = observed([one], hours, chance(1), np.zeros(hours, bool))
    traces, messages = (sum(table.column(name).to_pylist()) for name in ("traces", "messages"))
    assert traces == pytest.approx(10_000, rel=0.05)
    assert messages == 3 * traces


def test_a_job_runs_at_its_hour_and_a_stream_ends() -> None:
    hours = 24 * 14
    flat = np.ones(hours)
    job = Stream("consumer", "a", "x", period_hours=168, at_hour=5, per_run=7)
    assert np.flatnonzero(job.traces(hours, flat, chance(1))).tolist() == [5, 173]
    ended = Stream("consumer", "a", "x", per_day=10_000).until(48)
    assert np.flatnonzero(ended.traces(hours, flat, chance(1))).min() == 48


def test_nothing_is_seen_while_nobody_listens() -> None:
    missed = np.zeros(240, bool)
    missed[:100] = True
    table = observed([Stream("consumer", "a", "x", per_day=1000)], 240, chance(1), missed)
    assert max(table.column("minute").to_pylist()) * 60 < 1_800_000_000 - 100 * 3600


def test_a_week_is_as_busy_as_it_is_said_to_be() -> None:
    assert pattern(24 * 7 * 10, chance(2)).mean() == pytest.approx(1, abs=0.05)


def test_the_tables_count_all_worlds() -> None:
    tallies = {name: of_kind(name, 2, 1, 1) for name in ("not_moved", "moved_long_ago")}
    assert [line[3] for line in rows(tallies)] == ["2", "2"]
    assert sum(int(line[1]) for line in by_sampling(tallies)) == 2
    assert interval(0, 0) == "-"


def test_asking_daily_takes_the_first_safe() -> None:
    one = [judged(world("moved_long_ago", chance(seed)), days)[0] for seed in range(6) for days in (1, 3)]
    assert all(daily is Verdict.SAFE for once, daily in zip(one[::2], one[1::2], strict=True) if once is Verdict.SAFE)
