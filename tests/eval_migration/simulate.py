"""`make eval-migration`: thousands of worlds, the verdict of each, and how often SAFE is wrong.

PYTHONPATH=tests python -m eval_migration.simulate [--worlds N] [--seed N] [--only KIND …] [--format markdown]
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

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

    def add(self, other: Tally) -> None:
        """Add another's worlds."""
        self.worlds += other.worlds
        self.verdicts.update(other.verdicts)
        self.reasons.update(other.reasons)

    @property
    def safe(self) -> int:
        """Give how many were said to be safe."""
        return self.verdicts[str(Verdict.SAFE)]


def judged(one: World) -> tuple[Verdict, tuple[str, ...]]:
    """Give the verdict of stop-publish in a world, and its reasons."""
    ago = np.arange(one.hours)
    missed = np.zeros(one.hours, bool)
    for since, until in one.missed:
        missed |= (ago < since) & (ago + 1 > until)
    flows = observed(one.streams, one.hours, one.chance, missed)
    gaps = tuple(Gap(NOW - since * HOUR, NOW - until * HOUR, GapReason.STOPPED) for since, until in one.missed)
    capture = Capture((Interval(NOW - one.hours * HOUR, NOW),), gaps)
    services = dict.fromkeys(pc.unique(flows.column("service_name")).to_pylist(), float(NOW))
    settings = MigrationSettings.model_validate(one.settings)
    said = judge(case(settings.noun([settings]), kinds(flows), Seen(capture, services, float(NOW)), Gate.STOP_PUBLISH))
    return said.verdict, tuple(dict.fromkeys(str(reason.code) for reason in said.reasons))


def of_kind(kind: str, worlds: int, seed: int) -> Tally:
    """Draw worlds of one kind and judge them."""
    tally = Tally()
    for number in range(worlds):
        chance = np.random.default_rng([seed, zlib.crc32(kind.encode()), number])
        verdict, reasons = judged(world(kind, chance))
        tally.worlds += 1
        tally.verdicts[str(verdict)] += 1
        tally.reasons.update(reasons)
    return tally


def evaluate(kinds: Sequence[str], worlds: int, seed: int, jobs: int) -> dict[str, Tally]:
    """Judge so many worlds of each kind."""
    with ProcessPoolExecutor(jobs) as pool:
        return dict(zip(kinds, pool.map(of_kind, kinds, [worlds] * len(kinds), [seed] * len(kinds)), strict=True))


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


def table(lines: Sequence[Sequence[str]], *, markdown: bool) -> str:
    """Lay out the table."""
    if markdown:
        return "\n".join(f"| {' | '.join(line)} |" for line in (HEAD, ["---"] * len(HEAD), *lines)) + "\n"
    widths = [max(len(line[n]) for line in (HEAD, *lines)) for n in range(len(HEAD))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in (HEAD, *lines)) + "\n"


def main() -> None:
    """Judge and print; exit 1 where SAFE is wrong more often than it may be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=400, help="of each kind")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--format", choices=("text", "markdown"), default="text")
    given = parser.parse_args()
    kinds = [name for name in KINDS if not given.only or name in given.only]
    tallies = evaluate(kinds, given.worlds, given.seed, given.jobs)
    sys.stdout.write(table(list(rows(tallies)), markdown=given.format == "markdown"))
    bar = [t for name, t in tallies.items() if not KINDS[name].safe and KINDS[name].about != "outside"]
    wrong, whole = sum(t.safe for t in bar), sum(t.worlds for t in bar)
    sys.stdout.write(f"\nSAFE though a listed, instrumented consumer still reads the old schema: {wrong} of {whole} worlds, {interval(wrong, whole)}\n")
    sys.exit(int(whole > 0 and wrong / whole > ALLOWED))


if __name__ == "__main__":
    main()
