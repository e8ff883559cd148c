"""Messages whose halves come in different passes: flows add up to what one look at everything gives."""

from __future__ import annotations

from dataclasses import replace

import pytest
from arrivals import Arrivals, Watched
from hypothesis import given, settings
from hypothesis import strategies as st
from message_cases import Kept, sums
from spans import Spans, spans
from thorough import rounds

from traced.config import AnalysisSettings

LINES = [
    # by link, one of them in a batch
    "shop PRODUCER a:p msg=kafka dest=t op=send v=2",
    "shop PRODUCER a2:p msg=kafka dest=t op=send v=1",
    "bill CONSUMER b:c msg=kafka dest=t op=process group=g batch=3 ->a:p ->a2:p",
    # by parent, received and processed, and taken twice
    "shop PRODUCER d:p msg=kafka dest=u op=send",
    "bill CONSUMER d:r<p msg=kafka dest=u op=receive",
    "bill CONSUMER d:c<r msg=kafka dest=u op=process err",
    "bill CONSUMER d:c2<p msg=kafka dest=u op=process +60ms",
    # by message id, and one whose id two publications have
    "shop PRODUCER e:p msg=rabbitmq dest=q id=m1",
    "bill CONSUMER f:c msg=rabbitmq dest=q id=m1",
    "bill CONSUMER f:c2 msg=rabbitmq dest=q id=m2",
    "shop PRODUCER g:p msg=rabbitmq dest=q id=m2",
    "shop PRODUCER h:p msg=rabbitmq dest=q id=m2",
    # by place in a log
    "shop PRODUCER i:p msg=kafka dest=w partition=1 offset=7 v=3",
    "bill CONSUMER j:c msg=kafka dest=w partition=1 offset=7",
    # a link that leads nowhere, and to the same consumer's inner span
    "bill CONSUMER k:c msg=kafka dest=t op=process group=g ->lost:p",
    "bill CONSUMER l:part msg=kafka dest=x op=receive batch=1 ->m:r",
    "bill CONSUMER m:r<p msg=kafka dest=x op=receive partition=0",
    "shop PRODUCER m:p msg=kafka dest=x op=send",
    # create, and the send that came with it
    "shop PRODUCER n:k msg=kafka dest=y op=create v=5",
    "shop CLIENT n:s<k msg=kafka dest=y op=send",
    "bill CONSUMER n:c<k msg=kafka dest=y op=process",
]


def kept(given_spans: Spans, *, seconds: list[float], restarts: frozenset[float] = frozenset()) -> Kept:
    """Run an analysis by a clock, and give what its log has."""
    store = Arrivals(given_spans)
    store.message_log = log = Kept()
    state = Watched(store, AnalysisSettings(settle_seconds=1, late_window_seconds=3600))
    for second in seconds:
        if second in restarts:
            state.analysis._save()
            state.analysis._workbench.close()
            state.begin()
        state.at(second)
    return log


EVERYTHING = sums(kept(spans(*LINES), seconds=[5]).parts)


def test_one_look_at_everything_joins_what_can_be_joined():
    assert kept(spans(*LINES), seconds=[5]).taken() == {
        ("shop", "t", "bill/g", "link"): 2,
        ("", "t", "bill/g", ""): 2,
        ("shop", "u", "bill", "parent"): 1,
        ("shop", "q", "bill", "message_id"): 1,
        ("", "q", "bill", ""): 1,
        ("shop", "w", "bill", "offset"): 1,
        ("shop", "x", "bill", "parent"): 1,
        ("shop", "y", "bill", "parent"): 1,
    }


@settings(max_examples=rounds(5, 60), deadline=None)
@given(st.lists(st.integers(0, 3), min_size=len(LINES), max_size=len(LINES)), st.permutations(range(len(LINES))), st.sets(st.integers(1, 5)))
def test_any_split_into_passes_any_order_and_restarts_give_the_same_sums(arrivals, order, restarts):
    lines = spans(*LINES).lines
    late = Spans([replace(lines[n], arrival=arrivals[n] * 5 * 10**9) for n in order])
    log = kept(late, seconds=[5.0 * n for n in range(1, 6)], restarts=frozenset(5.0 * n for n in restarts))
    assert sums(log.parts) == EVERYTHING
    # rows are told once, of spans that no earlier pass looked at
    told = [(row["role"], row["trace_id_low"], row["span_id"], row["link_position"]) for row in log.rows]
    assert len(told) == len(set(told))


@pytest.mark.parametrize("times", [1, 2])
def test_duplicates_change_nothing(times):
    lines = spans(*LINES).lines
    again = [replace(line, arrival=line.arrival + n * 7 * 10**9) for n in range(times + 1) for line in lines]
    log = kept(Spans(again), seconds=[5, 12, 19])
    assert sums(log.parts) == EVERYTHING


def test_messages_that_cannot_be_looked_for_do_not_end_the_pass_and_are_a_gap(monkeypatch):
    store = Arrivals(spans(*LINES))
    store.message_log = log = Kept()
    state = Watched(store, AnalysisSettings(settle_seconds=1))
    monkeypatch.setattr(state.analysis._passes.messages, "_find", lambda _: 1 / 0)
    state.at(5)
    assert log.taken() == {}
    assert state.counter("traced_detector_errors", detector="messages") == 1
    assert [str(gap.reason) for gap in state.analysis.listening.capture().gaps][-1:] == ["dropped"]
