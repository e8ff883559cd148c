"""`make eval-migration`: thousands of worlds, the verdict of each, and how often SAFE is wrong.

PYTHONPATH=tests python -m eval_migration.simulate [--worlds N] [--seed N] [--days N] [--only KIND …] [--format markdown]
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow.compute as pc

from traced.config.migrations import MigrationSettings
from traced.migration.case import Seen, case
from traced.migration.kinds import kinds
from traced.migration.statistics import least_share, share_bound_of
from traced.migration.verdict import judge
from traced.model.capture import Capture, Gap, GapReason, Interval
from traced.model.migration import Gate, Verdict

from .traffic import HOUR, NOW, observed
from .truths import ABOUT, KINDS, World, world

DOUBT = 0.05
ALLOWED = 0.05


@dataclass
class Tally:
    """Worlds of one kind, by verdict."""

    worlds: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    sampled: Counter[float] = field(default_factory=Counter)
    """Worlds by how much of them is kept."""
    safe_sampled: Counter[float] = field(default_factory=Counter)
    """The same of those that were said to be safe."""

    def add(self, other: Tally) -> None:
        """Add another's worlds."""
        self.worlds += other.worlds
        for mine, theirs in zip(self._counters(), other._counters(), strict=True):
            mine.update(theirs)

    def _counters(self) -> tuple[Counter[Any], ...]:
        return self.verdicts, self.reasons, self.sampled, self.safe_sampled

    @property
    def safe(self) -> int:
        """Give how many were said to be safe."""
        return self.verdicts[str(Verdict.SAFE)]


def judged(one: World, days: int = 1) -> tuple[Verdict, tuple[str, ...]]:
    """Give the verdict of stop-publish in a world, and its reasons; the first that is SAFE of so many days, where somebody asks daily."""
    ago = np.arange(one.hours)
    missed = np.zeros(one.hours, bool)
    for since, until in one.missed:
        missed |= (ago < since) & (ago + 1 > until)
    flows = observed(one.streams, one.hours, one.chance, missed)
    gaps = tuple(Gap(NOW - since * HOUR, NOW - until * HOUR, GapReason.STOPPED) for since, until in one.missed)
    services = pc.unique(flows.column("service_name")).to_pylist()
    settings = MigrationSettings.model_validate(one.settings)
    migration, gathered = settings.noun([settings]), kinds(flows)
    for day in range(days - 1, -1, -1):
        asked = float(NOW - day * 24 * HOUR)
        capture = Capture((Interval(NOW - one.hours * HOUR, asked),), tuple(gap for gap in gaps if gap.until_unix_seconds <= asked))
        said = judge(case(migration, gathered, Seen(capture, dict.fromkeys(services, asked), asked), Gate.STOP_PUBLISH))
        if said.verdict is Verdict.SAFE:
            break
    return said.verdict, tuple(dict.fromkeys(str(reason.code) for reason in said.reasons))


def of_kind(kind: str, worlds: int, seed: int, days: int) -> Tally:
    """Draw worlds of one kind and judge them."""
    tally = Tally()
    for number in range(worlds):
        chance = np.random.default_rng([seed, zlib.crc32(kind.encode()), number])
        one = world(kind, chance)
        verdict, reasons = judged(one, days)
        tally.worlds += 1
        tally.verdicts[str(verdict)] += 1
        tally.reasons.update(reasons)
        tally.sampled[one.probability] += 1
        tally.safe_sampled[one.probability] += int(verdict is Verdict.SAFE)
    return tally


def evaluate(names: Sequence[str], given: argparse.Namespace) -> dict[str, Tally]:
    """Judge so many worlds of each kind."""
    each = [[value] * len(names) for value in (given.worlds, given.seed, given.days)]
    with ProcessPoolExecutor(given.jobs) as pool:
        return dict(zip(names, pool.map(of_kind, names, *each), strict=True))


def interval(part: int, whole: int) -> str:
    """Give a share with its two-sided 95 % interval (Clopper and Pearson)."""
    if not whole:
        return "-"
    return f"{part / whole:.2%} ({least_share(part, whole, DOUBT / 2):.2%} to {share_bound_of(part, whole, DOUBT / 2):.2%})"


def rows(tallies: dict[str, Tally]) -> Iterator[tuple[str, ...]]:
    """Give the lines of the table: by kind, and summed up."""
    for safe in (False, True):
        for about in ABOUT:
            chosen = {name: t for name, t in tallies.items() if (KINDS[name].safe, KINDS[name].about) == (safe, about)}
            total = Tally()
            for name, one in chosen.items():
                total.add(one)
                yield _row(name.replace("_", " "), safe, about, one)
            if len(chosen) > 1:
                yield _row("**together**", safe, about, total)


def _row(name: str, safe: bool, about: str, one: Tally) -> tuple[str, ...]:  # noqa: FBT001 - a fact
    first = ", ".join(f"{code} {n / one.worlds:.0%}" for code, n in one.reasons.most_common(3))
    others = [f"{one.verdicts[str(v)] / one.worlds:.0%}" for v in (Verdict.NOT_SAFE, Verdict.NOT_ENOUGH_EVIDENCE)]
    return name, "safe" if safe else "not safe", about, str(one.worlds), interval(one.safe, one.worlds), *others, first


HEAD = ("kind of world", "truth", "what is assumed", "worlds", "said SAFE", "NOT_SAFE", "NOT_ENOUGH_EVIDENCE", "most frequent reasons")
BY_SAMPLING = ("traces kept", "not safe", "of them said SAFE", "safe", "of them said SAFE ")


def by_sampling(tallies: dict[str, Tally]) -> Iterator[tuple[str, ...]]:
    """Give the lines of the second table: how often SAFE is said, by how much is kept, but for worlds of which nobody could know."""
    totals = {True: Tally(), False: Tally()}
    for name, one in tallies.items():
        if KINDS[name].about != "outside":
            totals[KINDS[name].safe].add(one)
    for probability in sorted(totals[False].sampled | totals[True].sampled, reverse=True):
        cells = []
        for truth in (False, True):
            whole = totals[truth].sampled[probability]
            cells += [str(whole), interval(totals[truth].safe_sampled[probability], whole)]
        yield f"{probability:.0%}", *cells


def table(head: Sequence[str], lines: Sequence[Sequence[str]], *, markdown: bool) -> str:
    """Lay out a table."""
    if markdown:
        return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *lines)) + "\n"
    widths = [max(len(line[n]) for line in (head, *lines)) for n in range(len(head))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in (head, *lines)) + "\n"


def main() -> None:
    """Judge and print; exit 1 where SAFE is wrong more often than it may be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=200, help="of each kind")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--days", type=int, default=1, help="ask daily for so long, and take the first SAFE")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--format", choices=("text", "markdown"), default="text")
    given = parser.parse_args()
    tallies = evaluate([name for name in KINDS if not given.only or name in given.only], given)
    markdown = given.format == "markdown"
    sys.stdout.write(table(HEAD, list(rows(tallies)), markdown=markdown) + "\n" + table(BY_SAMPLING, list(by_sampling(tallies)), markdown=markdown))
    bar = [t for name, t in tallies.items() if not KINDS[name].safe and KINDS[name].about != "outside"]
    wrong, whole = sum(t.safe for t in bar), sum(t.worlds for t in bar)
    sys.stdout.write(f"\nSAFE though a listed, instrumented consumer still reads the old schema: {wrong} of {whole} worlds, {interval(wrong, whole)}\n")
    sys.exit(int(whole > 0 and wrong / whole > ALLOWED))


if __name__ == "__main__":
    main()
