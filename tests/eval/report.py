"""Tables of how good the detectors were: for a terminal, or in Markdown for the documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from .claims import Expected
from .scoring import Judged, Judgement, Verdict
from .tally import Tally, tallies

MAX_FALSE_SHOWN = 10
"""Of a clean set's false occurrences, by detector."""

_BY_DETECTOR = (
    "detector",
    "truth",
    "reported",
    "found",
    "false",
    "missed",
    "allowed",
    "precision",
    "recall",
    "cause",
    "unknown",
    "peer",
    "match",
    "ECE",
    "decided",
)
_BY_SET = ("world/damage", "detector", "truth", "found", "false", "missed", "allowed", "cause", "unknown", "match")

LEGEND = (
    "found, false, missed: true positives, false positives, false negatives. allowed: true, but not demanded.",
    "cause: right among those decided on; unknown: undecided. peer, match: the right service, the right span among those named.",
    "ECE: expected calibration error over ten bins of confidence, of all, and of those with a decided cause.",
)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, markdown: bool) -> list[str]:
    """Lay out a table."""
    cells = [list(head), *([str(c) for c in row] for row in rows)]
    if markdown:
        lines = [f"| {' | '.join(row)} |" for row in cells]
        return [lines[0], "|" + " --- |" * len(head), *lines[1:]]
    widths = [max(len(row[n]) for row in cells) for n in range(len(head))]
    return [
        "  ".join(c.ljust(w) if n < 2 and not c[:1].isdigit() else c.rjust(w) for n, (c, w) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in cells
    ]


def by_detector(judgements: Sequence[Judgement], built: frozenset[str], *, markdown: bool) -> list[str]:
    """Give one row a detector that is built and of which the truth speaks."""
    sums = {d: t for d, t in sorted(tallies(judgements).items()) if d in built and t.verdicts[Verdict.UNJUDGED] == 0}
    return table(_BY_DETECTOR, [(d, *_figures(t)) for d, t in sums.items()], markdown=markdown)


def _figures(t: Tally) -> list[str]:
    counts = (t.truth, t.reported, t.found, t.false, t.missed, t.verdicts[Verdict.ALLOWED])
    shares = (t.precision, t.recall, t.cause_accuracy, t.unknown, _share(t.peers_right, t.peers), _share(t.matches_right, t.matches))
    return [*map(str, counts), *map(_shown, (*shares, t.calibration_error(), t.calibration_error(decided_only=True)))]


def by_set(judgements: Sequence[Judgement], built: frozenset[str], *, markdown: bool) -> list[str]:
    """Give one row a set and detector, where there is something to say."""
    return table(_BY_SET, [row for j in judgements for row in _rows_of_set(j, built)], markdown=markdown)


def _rows_of_set(judgement: Judgement, built: frozenset[str]) -> Iterator[list[str]]:
    for detector, t in sorted(tallies([judgement]).items()):
        if detector in built and (t.truth or t.false or t.verdicts[Verdict.ALLOWED]):
            counts = (t.truth, t.found, t.false, t.missed, t.verdicts[Verdict.ALLOWED])
            shares = (t.cause_accuracy, t.unknown, _share(t.matches_right, t.matches))
            yield [judgement.name, detector, *map(str, counts), *map(_shown, shares)]


def not_built(judgements: Iterable[Judgement], built: frozenset[str]) -> list[str]:
    """Name detectors that the truth asks for and that do not exist."""
    counts = Counter(c.id for j in judgements for c in j.missed if c.id not in built)
    return [f"not built: {detector}, {count} expected" for detector, count in sorted(counts.items())]


def not_judged(judgements: Iterable[Judgement]) -> list[str]:
    """Name detectors that reported, and of which the truth does not speak."""
    counts = Counter(x.evidence.id for j in judgements for x in j.judged if x.verdict is Verdict.UNJUDGED)
    return [f"not judged: {detector}, {count} reported" for detector, count in sorted(counts.items())]


def false_in_clean(judgements: Iterable[Judgement]) -> list[str]:
    """Show what was reported of undamaged sets and is not true."""
    lines = []
    for judgement in judgements:
        if not judgement.name.endswith("/clean"):
            continue
        false = [x for x in judgement.judged if x.verdict is Verdict.FALSE]
        counts = Counter(x.evidence.id for x in false)
        for detector in sorted(counts):
            lines += [_described(judgement.name, x) for x in false if x.evidence.id == detector][:MAX_FALSE_SHOWN]
            lines += [f"  … {counts[detector]} of {detector} in {judgement.name}"] if counts[detector] > MAX_FALSE_SHOWN else []
    return lines


def worst(judgements: Sequence[Judgement], built: frozenset[str], most: int) -> list[str]:
    """Show the first wrong occurrences of each detector and kind: false, wrong in what they say, missed."""
    lines, shown = [], Counter[tuple[str, str]]()
    for name, what, wrong in (x for j in judgements for x in _wrong(j, built)):
        detector = wrong.id if isinstance(wrong, Expected) else wrong.evidence.id
        shown[detector, what] += 1
        if shown[detector, what] <= most:
            lines.append(f"{what} {_missed(name, wrong) if isinstance(wrong, Expected) else _described(name, wrong)}")
    return sorted(lines, key=lambda line: (line.split()[2], line.split()[0]))


def _wrong(judgement: Judgement, built: frozenset[str]) -> Iterator[tuple[str, str, Judged | Expected]]:
    for judged in judgement.judged:
        if judged.verdict is Verdict.FALSE:
            yield judgement.name, "false", judged
        elif judged.verdict is Verdict.FOUND and not judged.right and (judged.decided or not judged.matched_right):
            yield judgement.name, "wrong", judged
    for claim in judgement.missed:
        if claim.id in built:
            yield judgement.name, "missed", claim


def _described(name: str, judged: Judged) -> str:
    line = judged.evidence
    parts = [
        name,
        line.id,
        f"trace {line.key[0]} span {line.key[1]}",
        f"{line.service} ← {line.peer or '?'}",
        f"cause {line.cause or '-'}",
        f"{line.confidence:.2f}",
    ]
    if line.matched:
        parts.append(f"matched {line.matched[0]} {line.matched[1]}")
    if judged.expected is not None:
        parts.append(_wanted(judged.expected))
    return "  ".join(parts)


def _missed(name: str, claim: Expected) -> str:
    trace_id, span_id = min(claim.keys)
    return "  ".join([name, claim.id, f"trace {trace_id} span {span_id}", _wanted(claim)])


def _wanted(claim: Expected) -> str:
    wanted = [f"cause {'|'.join(sorted(claim.causes)) or 'any'}"]
    wanted += [f"peer {claim.peer}"] if claim.peer else []
    wanted += [f"matched {' '.join(min(claim.matched))}"] if claim.matched else []
    return f"(true: {', '.join(wanted)})"


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
