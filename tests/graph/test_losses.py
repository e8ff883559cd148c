"""The loss ledger: what services say of their own spans, by service, instance and reason, within bounds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traced.graph import losses as module
from traced.graph.losses import LossLedger
from traced.graph.windows import WINDOW_SECONDS
from traced.model.measurement import LOSSES, Measurement, Quantity, Temporality

NOW = 1_700_000_000.0
BEGAN = 1_700_000_000_000_000_000
SECOND = 1_000_000_000


def point(value: int, quantity: Quantity = Quantity.DROPPED, *, at: float = 10, since: float | None = 0, **changed: Any) -> Measurement:
    """Give what cart-1 counted from `since` to `at` seconds after the beginning."""
    facts: dict[str, Any] = {
        "service": "cart",
        "instance": "cart-1",
        "quantity": quantity,
        "reason": "queue_full",
        "component": "batching_span_processor/0",
        "origin": "",
        "series": "s",
        "temporality": Temporality.CUMULATIVE,
        "start_time_unix_nano": 0 if since is None else BEGAN + int(since * SECOND),
        "time_unix_nano": BEGAN + int(at * SECOND),
        "value": value,
        **changed,
    }
    return Measurement(**facts)


def learned(*points: Measurement) -> LossLedger:
    ledger = LossLedger()
    ledger.turn(NOW)
    ledger.learn(points)
    return ledger


def spans_lost(ledger: LossLedger) -> dict[tuple[str, str, str], int]:
    return {(one.account.service, one.account.instance, one.account.reason): one.spans for one in ledger.lost()}


def test_losses_are_told_by_service_instance_and_reason_the_largest_first() -> None:
    ledger = learned(
        point(3, instance="cart-2", series="t"),
        point(412),
        point(5, reason="already_shutdown", series="u"),
        point(7, service="web", series="v"),
        point(100, Quantity.PROCESSED, reason="", series="w"),
    )
    assert list(spans_lost(ledger).items()) == [
        (("cart", "cart-1", "queue_full"), 412),
        (("web", "cart-1", "queue_full"), 7),
        (("cart", "cart-1", "already_shutdown"), 5),
        (("cart", "cart-2", "queue_full"), 3),
    ]


def test_a_process_that_started_again_under_its_name_is_added() -> None:
    assert spans_lost(learned(point(5, at=10), point(2, at=30, since=20), point(6, at=15)))["cart", "cart-1", "queue_full"] == 8


def test_several_processors_and_exporters_are_added_and_shown_apart() -> None:
    ledger = learned(point(5), point(2, component="batching_span_processor/1", series="t"))
    assert sorted((one.account.component, one.spans) for one in ledger.lost()) == [("batching_span_processor/0", 5), ("batching_span_processor/1", 2)]
    (account,) = ledger.accounts(10)
    assert [loss.spans for loss in account.losses] == [5, 2]


def test_a_loss_of_nothing_is_none() -> None:
    ledger = learned(point(0), point(0, Quantity.EXPORT_FAILED, series="t"))
    assert ledger.lost() == ()
    assert ledger
    assert not LossLedger()


def test_levels_are_the_newest_in_any_order() -> None:
    level = {"temporality": Temporality.LEVEL, "reason": ""}
    ledger = learned(
        point(64, Quantity.QUEUE_CAPACITY, **level),
        point(7, Quantity.QUEUE_SIZE, at=20, **level),
        point(64, Quantity.QUEUE_SIZE, at=10, **level),
        point(3, Quantity.LIVE, at=20, **{**level, "reason": "RECORD_AND_SAMPLE"}),
        point(2, Quantity.LIVE, at=20, **{**level, "reason": "RECORD_ONLY"}),
    )
    (account,) = ledger.accounts(10)
    assert (account.live, account.queue_size, account.queue_capacity) == (5, 7, 64)
    assert ledger.capacity("cart", "cart-1") == 64
    assert ledger.capacity("cart", "cart-2") == 0


def test_the_share_that_a_sampler_drops_is_measured() -> None:
    ledger = learned(
        point(60, Quantity.STARTED, reason="DROP", origin="none", series="a"),
        point(30, Quantity.STARTED, reason="DROP", origin="remote", series="b"),
        point(10, Quantity.STARTED, reason="RECORD_AND_SAMPLE", origin="none", series="c"),
    )
    assert ledger.sampled("cart") == (100, 90)
    assert ledger.sampled("web") is None
    (account,) = ledger.accounts(10)
    assert (account.started, account.not_sampled) == (100, 90)


def test_what_was_said_two_windows_ago_is_forgotten() -> None:
    ledger = learned(point(5), point(1, Quantity.LIVE, temporality=Temporality.LEVEL))
    ledger.turn(NOW + WINDOW_SECONDS)
    assert spans_lost(ledger) == {("cart", "cart-1", "queue_full"): 5}
    ledger.turn(NOW + 2 * WINDOW_SECONDS)
    assert ledger.lost() == ()
    assert ledger.accounts(10) == ()
    assert not ledger
    assert ledger.counted.total() == 5, "the counter never falls"


def test_a_counter_that_goes_on_shows_what_it_adds() -> None:
    ledger = learned(point(5))
    for window in (1, 2, 3):
        ledger.turn(NOW + window * WINDOW_SECONDS)
        ledger.learn([point(5 + window, at=window * WINDOW_SECONDS)])
    assert spans_lost(ledger) == {("cart", "cart-1", "queue_full"): 2}
    assert ledger.counted == {("cart", "dropped", "queue_full"): 8}


def test_every_quantity_is_counted_once_for_prometheus() -> None:
    for quantity in Quantity:
        ledger = learned(point(5, quantity), point(5, quantity), point(8, quantity, at=20))
        assert ledger.counted.total() == (8 if quantity in LOSSES else 0)


def test_limits_hold_and_what_they_leave_out_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SERIES", 10)
    ledger = learned(*[point(1, series=f"s{n}", reason=f"r{n}") for n in range(15)], *[point(1, series="s0", reason="r0")] * 3)
    assert (len(ledger.lost()), ledger.dropped) == (10, 5)
    ledger.turn(NOW + WINDOW_SECONDS)
    ledger.turn(NOW + 2 * WINDOW_SECONDS)
    ledger.learn([point(1, series="new", reason="new")])
    assert ledger.counted[module.OTHER] == 1
    monkeypatch.setattr(module, "MAX_INSTANCES", 3)
    ledger = learned(*[point(1, instance=f"i{n}", series=f"s{n}") for n in range(5)])
    assert (len(ledger.accounts(10)), ledger.dropped) == (3, 2)


def test_at_most_so_many_accounts_are_shown_and_those_that_lost_most() -> None:
    ledger = learned(*[point(n, instance=f"i{n}", series=f"s{n}") for n in range(20)])
    assert [account.instance for account in ledger.accounts(3)] == ["i19", "i18", "i17"]


points = st.lists(
    st.builds(
        point,
        st.integers(0, 9),
        st.sampled_from([Quantity.DROPPED, Quantity.STARTED, Quantity.EXPORT_FAILED]),
        at=st.integers(20, 29),
        since=st.sampled_from([None, 0, 10]),
        temporality=st.sampled_from([Temporality.CUMULATIVE, Temporality.DELTA]),
        service=st.sampled_from(["cart", "web"]),
    ),
    max_size=8,
)


@given(points, st.randoms(use_true_random=False))
def test_any_order_split_and_repetition_gives_the_same_ledger(given_: list[Measurement], chance: Any) -> None:
    mixed = given_ + chance.choices(given_, k=len(given_)) if given_ else []
    chance.shuffle(mixed)
    once, often = learned(*given_), LossLedger()
    for one in mixed:
        often.turn(NOW)
        often.learn([one])
    assert often.lost() == once.lost()
    assert often.accounts(10) == once.accounts(10)


@given(points)
def test_a_restart_changes_nothing(given_: list[Measurement]) -> None:
    ledger = learned(*given_, point(7, Quantity.LIVE, temporality=Temporality.LEVEL))
    again = LossLedger()
    again.load(json.loads(json.dumps(ledger.dump())))
    assert again.dump() == ledger.dump()
    for one in (ledger, again):
        one.turn(NOW + WINDOW_SECONDS)
        one.learn([point(99, at=50)])
    assert again.lost() == ledger.lost()
    assert again.accounts(10) == ledger.accounts(10)
    assert again.counted == ledger.counted


@pytest.mark.parametrize("state", [{}, {"turned": 0, "window": 0, "counters": [1], "levels": [], "until": [], "counted": []}])
def test_a_state_that_is_none_is_refused_and_nothing_taken(state: Any) -> None:
    ledger = learned(point(5))
    before = ledger.dump()
    with pytest.raises((KeyError, ValueError, TypeError)):
        ledger.load(state)
    assert ledger.dump() == before
