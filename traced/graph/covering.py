"""A cheapest set of suspects that covers all findings: weighted set cover, component by component, greedy where a component is large.

A finding may be covered by any suspect that it claims. Some it *names*, from others it only *follows*; a suspect is held only where it keeps a
finding that names it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import chain, combinations
from typing import Final, NamedTuple

from traced.graph.defects import Defect
from traced.model.suspect import SuspectKind

_WIDER: Final = 1.25
"""What a suspect costs that stands for more than one edge or operation: dearer than one of those, cheaper than two."""
_COST: Final = {SuspectKind.SERVICE: _WIDER, SuspectKind.HOST: _WIDER, SuspectKind.CALLER: _WIDER, SuspectKind.COLLECTOR: 1.5}
MAX_EXACT: Final = 8
"""Suspects of a component up to which every set of them is tried; in larger ones the greedy choice stands."""
_KINDS: Final = {kind: rank for rank, kind in enumerate(SuspectKind)}


class Candidate(NamedTuple):
    """A suspect before it is chosen: what makes two findings' suspects the same.

    Attributes:
        about: names of hosts, the name of an operation, or the detector whose claim says no more than itself.
    """

    kind: SuspectKind
    defect: Defect
    service: str = ""
    peer: str = ""
    about: str = ""


Claims = Mapping[Candidate, bool]
"""The suspects of one finding: True where it names the suspect, False where it only follows."""
_Covers = dict[Candidate, dict[int, bool]]
"""The same, turned around: of each suspect the numbers of its findings."""
_Keepers = dict[int, Candidate]
"""A finding for each suspect of a set, which names it and stays with it."""
_Price = tuple[float, int, int, Candidate]


def cost_of(candidates: Iterable[Candidate]) -> float:
    """Give the price of a set of suspects."""
    return sum(_COST.get(candidate.kind, 1.0) for candidate in candidates)


def cover(claims: Sequence[Claims]) -> list[Candidate]:
    """Give for each finding the suspect that it belongs to.

    At each step the suspect with the least cost for each finding not covered yet is taken, if one of these names it; what later ones made
    needless is dropped; in a small component a cheaper set, if there is one, takes its place. Then a finding goes to the first of them
    that it names, else to the first that it follows from.

    Args:
        claims: of each finding; at least one of them names.

    Returns:
        One candidate for each finding. It does not depend on the order within claims, and on that of the findings only by their numbers.
    """
    belongs: dict[int, Candidate] = {}
    for component in _components(claims):
        covers: _Covers = defaultdict(dict)
        for number in component:
            for candidate, names in claims[number].items():
                covers[candidate][number] = names
        held, keepers = _cheapest(_without_needless(_greedy(covers, set(component)), covers), covers)
        rank = {candidate: place for place, candidate in enumerate(held)}
        for number in component:
            mine = [(not names, rank[candidate], candidate) for candidate, names in claims[number].items() if candidate in rank]
            belongs[number] = keepers.get(number) or min(mine)[2]
    return [belongs[number] for number in range(len(claims))]


def _components(claims: Sequence[Claims]) -> Iterator[list[int]]:
    """Give the findings that share suspects, directly or through others."""
    import networkx as nx  # noqa: PLC0415 - 12 MB that a daemon nobody looks at does not need

    graph: nx.Graph[int | Candidate] = nx.Graph()
    graph.add_nodes_from(range(len(claims)))
    graph.add_edges_from((number, candidate) for number, mine in enumerate(claims) for candidate in mine)
    for component in nx.connected_components(graph):
        yield sorted(node for node in component if isinstance(node, int))


def _greedy(covers: _Covers, left: set[int]) -> list[Candidate]:
    """Take suspects until nothing is left. What one adds only shrinks, so a price that has not risen when it comes up is still the least."""
    queue = [price for candidate in covers if (price := _price(candidate, covers[candidate], left)) is not None]
    heapify(queue)
    taken: list[Candidate] = []
    while left:
        candidate = heappop(queue)[-1]
        price = _price(candidate, covers[candidate], left)
        if price is None:
            continue
        if queue and price > queue[0]:
            heappush(queue, price)
            continue
        taken.append(candidate)
        left -= covers[candidate].keys()
    return taken


def _price(candidate: Candidate, findings: Mapping[int, bool], left: set[int]) -> _Price | None:
    """Give the cost for each finding that is left, then what decides between equals; None where none of these names the suspect."""
    new = [names for number, names in findings.items() if number in left]
    named = sum(new)
    return (_COST.get(candidate.kind, 1.0) / len(new), -named, _KINDS[candidate.kind], candidate) if named else None


def _without_needless(taken: list[Candidate], covers: _Covers) -> list[Candidate]:
    """Drop, the last taken first, whose findings all have another suspect that stays."""
    times = Counter(number for candidate in taken for number in covers[candidate])
    held = []
    for candidate in reversed(taken):
        if all(times[number] > 1 for number in covers[candidate]):
            times.subtract(covers[candidate].keys())
        else:
            held.append(candidate)
    return held[::-1]


def _cheapest(held: list[Candidate], covers: _Covers) -> tuple[list[Candidate], _Keepers]:
    """Give a set that costs less, the first of the cheapest, with who keeps what; else the same set, whose order decides that."""
    if len(held) == 1 or len(covers) > MAX_EXACT:
        return held, {}
    price = cost_of(held)
    sizes = range(1, int(price) + 1)  # nothing costs less than 1
    whole = {number for findings in covers.values() for number in findings}
    subsets = chain.from_iterable(combinations(sorted(covers), size) for size in sizes)
    cheaper = [subset for subset in subsets if cost_of(subset) < price and whole == set().union(*(covers[candidate] for candidate in subset))]
    for subset in sorted(cheaper, key=cost_of):
        keepers = _keepers(subset, covers)
        if len(keepers) == len(subset):
            return list(subset), keepers
    return held, {}


def _keepers(subset: Sequence[Candidate], covers: _Covers) -> _Keepers:
    """Give as many suspects as possible a finding of their own that names them."""
    import networkx as nx  # noqa: PLC0415 - as above

    graph: nx.Graph[int | Candidate] = nx.Graph()
    graph.add_nodes_from(subset)
    graph.add_edges_from((candidate, number) for candidate in subset for number, names in sorted(covers[candidate].items()) if names)
    matched = nx.bipartite.maximum_matching(graph, top_nodes=subset)
    return {matched[candidate]: candidate for candidate in subset if candidate in matched}
