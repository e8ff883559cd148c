"""An absent id is constant where different traces name it, not where one is looked at again."""

from __future__ import annotations

import json

import numpy as np
from spans import spans

from traced.graph.absent_ids import AbsentIds
from traced.graph.forest import Forest


def named(ids: AbsentIds, *lines: str) -> list[int]:
    forest = Forest(spans(*lines).staged())
    return ids.learn(forest, np.flatnonzero(forest.absent))


def test_two_traces_that_are_looked_at_by_turns_stay_two() -> None:
    ids = AbsentIds()
    counts = [named(ids, f"cart SERVER {trace}:b<x") for trace in ("one", "two") * 4]
    assert counts == [[1], [2], [2], [2], [2], [2], [2], [2]]


def test_three_traces_are_three_and_two_orphans_of_one_are_one() -> None:
    ids = AbsentIds()
    assert named(ids, "cart SERVER one:b<x", "cart SERVER one:c<x", "cart SERVER two:d<x", "cart SERVER three:e<x") == [3, 3, 3, 3]
    assert named(ids, "cart SERVER four:f<y", "cart SERVER four:g<y") == [1, 1]


def test_a_restart_forgets_none() -> None:
    before, after = AbsentIds(), AbsentIds()
    named(before, "cart SERVER one:b<x", "cart SERVER two:c<x", "cart SERVER two:d<y")
    after.load(json.loads(json.dumps(before.dump())))
    assert named(after, "cart SERVER three:e<x", "cart SERVER two:d<y") == [3, 1]
