"""The detectors' cases again, as OTLP bytes through the real decoder and store: they say the same. Of those in which nothing is said, a third is tried."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from looking import NOW, new_passes, place
from spans import shared_workbench, spans
from thorough import rounds

from traced.analysis.settling import Settling
from traced.config import StoreSettings
from traced.detectors import detector_ids
from traced.receiver.decode import decode_traces
from traced.receiver.wire import Limits
from traced.store.store import Store
from traced.telemetry import Telemetry


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Give a store that lives as long as one test; its cases follow one another in it."""
    opened = Store(StoreSettings(data_dir=tmp_path, durable=False, max_disk_fraction=1.0), Telemetry())
    opened.open()
    yield opened
    opened.close()


def _found(store: Store, detector: str, case: int, lines: Sequence[str]) -> set[str]:
    """Send a case's lines in traces of their own and look at what arrived since."""
    own = spans(*(_in_case(line, case) for line in lines))
    since = store.visible_until
    for _, body in own.requests():
        store.accept(decode_traces(body, Limits())).result(10)
    settling = Settling(store, shared_workbench(), 10**18, 1_000_000, 10**18)
    settling.skip_to(since)
    until = store.visible_until
    outcome = new_passes(store, only=detector).run(settling.advance(until, until), NOW)
    return {place(own, o).replace(f"c{case}-", "").removeprefix("t:") for o in outcome.occurrences}


def _in_case(line: str, case: int) -> str:
    service, kind, where, *words = line.split(" ")
    links = [f"->c{case}-{w[2:]}" if ":" in w else f"->c{case}-t:{w[2:]}" for w in words if w.startswith("->")]
    trace, _, span = where.rpartition(":")
    # a trace id that is written out is the point of its case, and no other has it
    own = trace if len(trace) == 32 else f"c{case}-{trace or 't'}"
    return " ".join([service, kind, f"{own}:{span}", *(w for w in words if not w.startswith("->")), *links])


@pytest.mark.parametrize("detector", detector_ids())
def test_every_case_says_the_same_of_what_was_received_and_stored(store: Store, detector: str) -> None:
    cases = importlib.import_module(f"test_{detector}")
    wrong = {}
    every = [(said, lines, expected) for said, (lines, expected) in cases.FIRES.items()]
    every += [(said, lines, None) for said, lines in list(cases.STAYS_SILENT.items())[:: rounds(3, 1)]]
    for number, (said, lines, expected) in enumerate(every):
        found = _found(store, detector, number, lines)
        # of two clocks one occurrence is expected, whichever span it stands at
        right = len(found) == 1 if expected and detector == "clock_skew" else found == set(expected or ())
        if not right:
            wrong[said] = (sorted(found), sorted(expected or ()))
    assert wrong == {}
