"""The cover: everything is covered, each suspect keeps a finding that names it, and no set of few is cheaper."""

from __future__ import annotations

import random
from collections import defaultdict
from itertools import chain, combinations

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traced.graph import covering
from traced.graph.covering import Candidate, cost_of, cover
from traced.graph.defects import Defect
from traced.model.suspect import SuspectKind

Claims = list[dict[Candidate, bool]]
SUSPECTS = [Candidate(kind, Defect.LOSES_SPANS, name) for name in "abc" for kind in (SuspectKind.EDGE, SuspectKind.SERVICE)]
CLAIMS = st.lists(
    st.dictionaries(st.sampled_from(SUSPECTS), st.booleans(), min_size=1, max_size=4).filter(lambda mine: any(mine.values())), min_size=1, max_size=7
)


def may_be_held(chosen: tuple[Candidate, ...], claims: Claims) -> bool:
    """Tell whether a set covers everything and each of the set can keep a finding of its own that names it."""
    if not all(any(candidate in mine for candidate in chosen) for mine in claims):
        return False
    graph = nx.Graph()
    graph.add_nodes_from(chosen)
    graph.add_edges_from((candidate, number) for number, mine in enumerate(claims) for candidate in chosen if mine.get(candidate))
    return len(nx.bipartite.maximum_matching(graph, top_nodes=chosen)) == 2 * len(chosen)


def cheapest(claims: Claims) -> float:
    """Try every set."""
    known = sorted({candidate for mine in claims for candidate in mine})
    subsets = chain.from_iterable(combinations(known, size) for size in range(1, len(known) + 1))
    return min(cost_of(subset) for subset in subsets if may_be_held(subset, claims))


@settings(max_examples=150, deadline=None)
@given(CLAIMS)
def test_everything_is_covered_by_suspects_that_keep_a_finding_that_names_them(claims: Claims):
    belongs = cover(claims)
    held = defaultdict(list)
    for number, candidate in enumerate(belongs):
        assert candidate in claims[number]
        held[candidate].append(claims[number][candidate])
    assert all(any(names) for names in held.values())


@settings(max_examples=150, deadline=None)
@given(CLAIMS)
def test_of_few_suspects_no_set_is_cheaper(claims: Claims):
    assert cost_of(set(cover(claims))) == cheapest(claims)


def test_where_a_component_is_large_the_greedy_choice_is_mostly_the_cheapest(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(covering, "MAX_EXACT", 0)
    chance = random.Random(7)
    ratios = []
    for _ in range(200):
        claims: Claims = []
        for _ in range(chance.randint(2, 9)):
            mine = {candidate: chance.random() < 0.7 for candidate in chance.sample(SUSPECTS, chance.randint(1, 4))}
            claims.append(mine if any(mine.values()) else dict.fromkeys(mine, True))
        ratios.append(cost_of(set(cover(claims))) / cheapest(claims))
    assert sum(ratio == 1 for ratio in ratios) >= 170
    assert max(ratios) <= 2


def test_a_suspect_that_later_ones_made_needless_is_dropped():
    wide, left, right = (Candidate(SuspectKind.EDGE, Defect.LOSES_SPANS, name) for name in "awz")
    claims = [{wide: True, left: True}, {wide: True, left: True}, {wide: True, right: True}, {wide: True, right: True}, {left: True}, {right: True}]
    assert set(cover(claims)) == {left, right}


def test_nothing_to_cover():
    assert cover([]) == []
