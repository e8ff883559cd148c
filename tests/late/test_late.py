"""The short form of `make late`, and that its comparison can fail."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from eval.damages import DAMAGES
from eval.worlds import world

from traced.model.occurrence import Level, Occurrence
from traced.model.views import Tallies
from traced.receiver.decode import decode_traces
from traced.receiver.wire import Limits

from .comparison import difference, dishonest
from .exports import EXPORT_SECONDS
from .late import SETS, SETTLE_SECONDS, late, made, run, whole
from .running import Ended

SEED = 7
TRACES = 50


@pytest.mark.parametrize("name", ["shop@0.01/drop_server"])
def test_a_run_whose_batches_come_late_ends_with_the_claims_of_one_where_none_does(name: str) -> None:
    sent = made(name, SEED, TRACES)
    undelayed, ended = run(sent), run(late(sent, name, 1))
    assert undelayed.occurrences
    assert ended.tallies.withdrawn, "nothing that came late had been missed"
    assert difference(ended.occurrences, undelayed.occurrences).lines() == []
    assert difference(undelayed.occurrences, whole(sent)).lines() == []
    assert dishonest(ended) == dishonest(undelayed) == []


def test_each_span_is_sent_once_and_a_tenth_of_the_batches_comes_late() -> None:
    name = "shop@0.01/loss_5"
    sent = made(name, SEED, TRACES)
    damaged = DAMAGES["loss_5"].done_to(world("shop@0.01", SEED, TRACES), SEED)
    assert sum(decode_traces(e.body, Limits()).items.num_rows for e in sent) == len(damaged.spans)
    before, after = ({e.body: e.arrival for e in batches} for batches in (sent, late(sent, name, 1)))
    waits = [after[body] - before[body] for body in before if after[body] != before[body]]
    assert len(waits) == round(len(sent) / 10)
    assert SETTLE_SECONDS <= min(waits) <= max(waits) <= 20 * SETTLE_SECONDS
    assert SETTLE_SECONDS > EXPORT_SECONDS, "without delay a trace is whole before it settles"


def test_every_set_is_a_world_and_a_damage_that_there_are() -> None:
    assert all(name.split("/")[1] in DAMAGES for name in SETS)


ONE = Occurrence("orphan_span", Level.VIOLATION, (0, 1), 2, "cart", "GET /cart", 5, cause="local_loss")
HONEST = Ended(
    (ONE,), Counter({("orphan_span", "local_loss", "cart", "", "GET /cart"): 1}), Tallies(occurrences={("orphan_span", "cart", "", "local_loss"): 1})
)


def test_another_cause_of_one_span_is_a_difference() -> None:
    other = difference([replace(ONE, cause="unknown")], [ONE])
    assert other.lines() == ["+1 orphan_span · unknown · cart · - · GET /cart", "-1 orphan_span · local_loss · cart · - · GET /cart"]
    assert not difference([ONE], [replace(ONE, confidence=0.5)])


def test_counters_that_disagree_with_what_is_open_are_named() -> None:
    assert dishonest(HONEST) == []
    twice = replace(HONEST, tallies=Tallies(occurrences={("orphan_span", "cart", "", "local_loss"): 2}))
    assert dishonest(twice) == ["('orphan_span', 'cart', '', 'local_loss'): 2 by the counters, 1 open"]
    assert dishonest(replace(twice, tallies=replace(twice.tallies, withdrawn={("orphan_span", "cart", "", "local_loss"): 1}))) == []
    assert len(dishonest(replace(HONEST, shown=Counter()))) == 1
