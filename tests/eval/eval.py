"""`make eval`: damage traces in known ways, ask `traced analyze`, and print how right it was.

Each set is a world (generated from the seed, or real) and what was done to it. Results must hold for any seed: look at another before believing one.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import report
from .claims import Truth
from .damages import DAMAGES, Damage
from .evidence import Evidence, analyze, built_detectors
from .kinship import kinship
from .otlp_lines import write
from .real_sets import FOLDER, NAMES, available
from .scoring import Judgement, judge
from .truth import truth_of
from .worlds import WORLDS, world


@dataclass(frozen=True)
class Task:
    """One set to evaluate."""

    world: str
    damage: Damage

    @property
    def name(self) -> str:
        """Name it as `--only` does."""
        return f"{self.world}/{self.damage.name}"


@dataclass(frozen=True)
class Asked:
    """A set that is being analysed."""

    name: str
    truth: Truth
    path: Path
    answer: Future[list[Evidence]]


def tasks(only: list[str], *, everywhere: bool) -> list[Task]:
    """Choose the sets, world by world."""
    here = (*WORLDS, *available())
    chosen = [Task(w, d) for w in here for d in DAMAGES.values() if w in d.worlds or (everywhere and not (d.whole and w in NAMES))]
    return [task for task in chosen if not only or any(part in task.name for part in only)]


def evaluate(chosen: Iterable[Task], given: argparse.Namespace, folder: Path) -> Iterator[Judgement]:
    """Make, analyse and judge sets, in their order; the next are made while one is analysed."""
    waiting: deque[Asked] = deque()
    present = ""
    with ThreadPoolExecutor(given.jobs) as pool:
        for task in chosen:
            if task.world != present:
                # one world at a time is enough: they come in order
                world.cache_clear()
                kinship.cache_clear()
                present = task.world
            waiting.append(_ask(task, given, folder, pool))
            while len(waiting) > given.jobs:
                yield _judged(waiting.popleft(), keep=given.keep is not None)
        while waiting:
            yield _judged(waiting.popleft(), keep=given.keep is not None)


def _ask(task: Task, given: argparse.Namespace, folder: Path, pool: ThreadPoolExecutor) -> Asked:
    clean = world(task.world, given.seed, given.traces)
    damaged = task.damage.done_to(clean, given.seed)
    path = folder / f"{task.name.replace('/', '.')}.jsonl"
    write(path, damaged.spans)
    return Asked(task.name, truth_of(clean, damaged), path, pool.submit(analyze, path, len(damaged.spans)))


def _judged(asked: Asked, *, keep: bool) -> Judgement:
    judgement = judge(asked.name, asked.truth, asked.answer.result())
    if not keep:
        asked.path.unlink()
        asked.path.with_suffix(".evidence").unlink()
    sys.stderr.write(".")
    sys.stderr.flush()
    return judgement


def show(judgements: list[Judgement], built: frozenset[str], given: argparse.Namespace) -> None:
    """Print everything."""
    markdown = given.format == "markdown"
    parts = [
        ("By detector", [*report.by_detector(judgements, built, markdown=markdown), "", *report.LEGEND]),
        ("By set", report.by_set(judgements, built, markdown=markdown)),
        ("False in undamaged sets", report.false_in_clean(judgements)),
        ("Not scored", [*report.not_built(judgements, built), *report.not_judged(judgements), *_left_out()]),
        ("Wrong", report.worst(judgements, built, given.worst) if given.worst else []),
    ]
    for title, lines in parts:
        if lines:
            listed = lines if not markdown or lines[0].startswith("|") else [f"- {line}" for line in lines]
            print("\n".join(["", f"## {title}" if markdown else title, "", *listed]))


def _left_out() -> list[str]:
    missing = [name for name in NAMES if name not in available()]
    return [f"left out: {', '.join(missing)} (no such files in {FOLDER.parent.name}/{FOLDER.name} beside the checkout)"] if missing else []


def options() -> argparse.ArgumentParser:
    """Say what can be asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.eval.eval", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="WORLD/DAMAGE", help="sets whose name contains one of these")
    parser.add_argument("--everywhere", action="store_true", help="every damage to every world (about an hour)")
    parser.add_argument("--list", action="store_true", help="name the sets and what is done, and end")
    parser.add_argument("--seed", type=int, default=7, help="other traces and damages for another number")
    parser.add_argument("--traces", type=int, help="requests into each generated world; else what the world says, a few hundred")
    parser.add_argument("--worst", type=int, default=0, metavar="N", help="show the first N wrong occurrences of each detector and kind")
    parser.add_argument("--format", choices=("text", "markdown"), default="text")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the files and what was reported")
    parser.add_argument("--jobs", type=int, default=2, help="how many analyses at once")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what was asked for (None: on the command line)."""
    given = options().parse_args(arguments)
    chosen = tasks(given.only, everywhere=given.everywhere)
    if given.list:
        print("\n".join(f"{task.name}\t{task.damage.about}" for task in chosen).expandtabs(40))
        return
    if not chosen:
        raise SystemExit(f"no set is called {' or '.join(given.only)}; --list names them")
    built = built_detectors()
    folder = given.keep or Path(tempfile.mkdtemp(prefix="eval-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        judgements = list(evaluate(chosen, given, folder))
    finally:
        if given.keep is None:
            shutil.rmtree(folder)
    show(judgements, built, given)


if __name__ == "__main__":
    main()
