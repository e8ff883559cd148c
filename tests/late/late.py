"""`make late`: let a tenth of the batches come late, and hold the open findings against those of a run without delay, and of `traced analyze`.

Each set is a world of the evaluation at a load so low that it lasts a minute or two, and what was done to it. Its processes send every five seconds. Once
everything comes in time; then, several times, a tenth of the batches comes 1 to 20 settle times late. All has settled, and what was decided early has been
decided anew, when the runs are compared. Ends with 1 where any claim differs, or where counters and open occurrences disagree.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

from eval.damages import DAMAGES
from eval.worlds import world

from traced.config import Settings
from traced.file_analysis import analyze_requests
from traced.model.batch import Signal
from traced.model.input import InputRequest
from traced.model.occurrence import Occurrence

from .comparison import Difference, difference, dishonest
from .exports import Export, delayed, exports
from .running import Ended, running

SETTLE_SECONDS = 10.0
SHARE = 0.1
_SHOP = ("clean", "loss_5", "drop_server", "drop_client", "drop_root", "dead", "dead_midway", "uninstrumented", "mangled", "constant_parent")
_SHOP_TOO = ("cut_5", "cut_30", "cut_100", "cut_caller", "cut_callee", "sampled_th", "sampled_ratio", "tail", "skew_200ms", "twice", "leaves_instance")
SETS = (
    *(f"shop@0.02/{damage}" for damage in (*_SHOP, *_SHOP_TOO)),
    *(f"fanout_link@0.03/{damage}" for damage in ("clean", "loss_5", "drop_client", "redelivered")),
    *(f"fanout_parent@0.03/{damage}" for damage in ("loss_5", "cut_consumers")),
    "gateway@0.01/loss_5",
    "fifty@0.01/loss_5",
)


def made(name: str, seed: int, traces: int | None = None) -> list[Export]:
    """Give the batches of a set, `world/damage`, of so many requests (None: as many as the world says)."""
    place, damage = name.split("/")
    clean = world(place, seed, traces)
    return exports(DAMAGES[damage].done_to(clean, seed).spans, random.Random(f"{seed} {name} exports"))


def run(sent: Sequence[Export], restarts: Sequence[float] = ()) -> Ended:
    """Give what the daemon's analysis ends with."""
    with tempfile.TemporaryDirectory(prefix="late-") as directory, running(Path(directory), SETTLE_SECONDS) as one:
        return one.play(sent, restarts)


def late(sent: Sequence[Export], name: str, number: int) -> list[Export]:
    """Delay batches of a set, otherwise for each number."""
    return delayed(sent, SETTLE_SECONDS, SHARE, random.Random(f"{number} {name} delays"))


def whole(sent: Sequence[Export]) -> tuple[Occurrence, ...]:
    """Give what `traced analyze` finds, which has everything at once."""
    return analyze_requests([InputRequest(Signal.TRACES, e.body, "") for e in sent], Settings()).occurrences


def restarts_of(sent: Sequence[Export]) -> tuple[float, float]:
    """Give two moments in the middle of a run."""
    return sent[-1].arrival / 3, sent[-1].arrival * 2 / 3


def _told(what: str, ended: Ended, against: Difference) -> bool:
    lies = dishonest(ended)
    print(f"  {what:<12} findings {len(ended.shown):>3}  occurrences {len(ended.occurrences):>4}  differ {len(against.more) + len(against.less)}")
    for line in (*against.lines(), *(f"! {lie}" for lie in lies)):
        print(f"      {line}")
    return bool(against or lies)


def compare(name: str, given: argparse.Namespace) -> bool:
    """Print one set; say whether anything is wrong."""
    sent = made(name, given.seed)
    undelayed = run(sent)
    print(f"{name}: {len(sent)} batches", flush=True)
    wrong = _told("undelayed", undelayed, difference(undelayed.occurrences, whole(sent)))
    for number in given.delays:
        moved = late(sent, name, number)
        ended = run(moved, restarts_of(moved) if given.restart else ())
        wrong |= _told(f"delayed {number}", ended, difference(ended.occurrences, undelayed.occurrences))
    return wrong


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what was asked for (None: on the command line)."""
    parser = argparse.ArgumentParser(prog="python -m late.late", description=__doc__)
    parser.add_argument("--only", nargs="+", default=[], metavar="WORLD/DAMAGE", help="sets whose name contains one of these")
    parser.add_argument("--seed", type=int, default=7, help="other traces and damages for another number")
    parser.add_argument("--delays", type=int, nargs="+", default=[1, 2, 3], metavar="N", help="which delays, one run each")
    parser.add_argument("--restart", action="store_true", help="end and begin the daemon anew twice in each delayed run")
    given = parser.parse_args(arguments)
    chosen = [name for name in SETS if not given.only or any(part in name for part in given.only)]
    wrong = [name for name in chosen if compare(name, given)]
    print(f"sets {len(chosen)}  delayed runs {len(chosen) * len(given.delays)}  sets that differ {len(wrong)} {' '.join(wrong)}".rstrip())
    raise SystemExit(1 if wrong or not chosen else 0)


if __name__ == "__main__":
    main()
