"""Sums of judgements: a detector's precision, recall, right causes, and how well its confidence is calibrated."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from .scoring import Judgement, Verdict

BINS = 10
"""Equal widths of confidence over which calibration is measured."""


@dataclass
class Tally:
    """Counts of one detector.

    Attributes:
        verdicts: how many reported occurrences got which verdict.
        missed: of the truth, not reported.
        asked: of the found, those whose cause is known; so many of them `undecided`, and `cause_right` of the decided.
        peers: of the found, those that name a peer where there is one; `peers_right` of them the true one.
        matches: of the found, those that should name a match; `matches_right` of them name the true one.
        scored: (confidence, right, decided) of the found and the false.
    """

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    missed: int = 0
    asked: int = 0
    undecided: int = 0
    cause_right: int = 0
    peers: int = 0
    peers_right: int = 0
    matches: int = 0
    matches_right: int = 0
    scored: list[tuple[float, bool, bool]] = field(default_factory=list)

    @property
    def found(self) -> int:
        """Count true positives."""
        return self.verdicts[Verdict.FOUND]

    @property
    def false(self) -> int:
        """Count false positives."""
        return self.verdicts[Verdict.FALSE]

    @property
    def truth(self) -> int:
        """Count what ought to be reported."""
        return self.found + self.missed

    @property
    def reported(self) -> int:
        """Count all lines."""
        return self.verdicts.total()

    @property
    def precision(self) -> float | None:
        """Give the share of true ones among those that are true or false; None where there are none."""
        return share(self.found, self.found + self.false)

    @property
    def recall(self) -> float | None:
        """Give the share found."""
        return share(self.found, self.truth)

    @property
    def cause_accuracy(self) -> float | None:
        """Give the share of right causes among the decided ones."""
        return share(self.cause_right, self.asked - self.undecided)

    @property
    def unknown(self) -> float | None:
        """Give the share of undecided causes where one is known."""
        return share(self.undecided, self.asked)

    def calibration_error(self, *, decided_only: bool = False) -> float | None:
        """Give the expected calibration error; `decided_only`: of occurrences with a cause where one is known."""
        return calibration_error((c, right) for c, right, decided in self.scored if decided or not decided_only)


def share(part: int, whole: int) -> float | None:
    """Give part of whole, None of nothing."""
    return part / whole if whole else None


def calibration_error(scored: Iterable[tuple[float, bool]]) -> float | None:
    """Give the mean distance of confidence and share of right ones over bins of confidence, by their sizes; None of nothing."""
    bins: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for confidence, right in scored:
        bins[min(BINS - 1, int(confidence * BINS))].append((confidence, right))
    total = sum(map(len, bins.values()))
    if not total:
        return None
    return sum(abs(sum(c for c, _ in some) - sum(right for _, right in some)) for some in bins.values()) / total


def tallies(judgements: Iterable[Judgement]) -> dict[str, Tally]:
    """Sum up judgements by detector."""
    sums: dict[str, Tally] = defaultdict(Tally)
    for judgement in judgements:
        for claim in judgement.missed:
            sums[claim.id].missed += 1
        for judged in judgement.judged:
            tally, line, claimed = sums[judged.evidence.id], judged.evidence, judged.expected
            tally.verdicts[judged.verdict] += 1
            if judged.verdict in (Verdict.FOUND, Verdict.FALSE):
                tally.scored.append((line.confidence, judged.right, judged.decided or not judged.asks_cause))
            if judged.verdict is not Verdict.FOUND or claimed is None:
                continue
            tally.asked += judged.asks_cause
            tally.undecided += judged.asks_cause and not judged.decided
            tally.cause_right += judged.asks_cause and judged.decided and judged.cause_right
            tally.peers += bool(claimed.peer and line.peer)
            tally.peers_right += bool(claimed.peer and line.peer and judged.peer_right)
            tally.matches += bool(claimed.matched)
            tally.matches_right += bool(claimed.matched) and judged.matched_right
    return dict(sums)
