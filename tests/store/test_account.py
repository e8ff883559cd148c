"""What is missing among the batch numbers: every loss once, and nothing that was dropped or counted before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traced.store.account import Account, count, load_account

NUMBERS = st.sets(st.integers(1, 60))


def ranges(numbers) -> list[tuple[int, int]]:
    return [(n, n) for n in numbers]


@given(NUMBERS, NUMBERS, st.integers(0, 30), st.integers(0, 70))
def test_missing_is_everything_that_is_neither_here_nor_lost_before_nor_dropped(present, lost, dropped_to, last):
    account = Account(dropped_to).with_lost(ranges(lost))
    missing = account.missing(ranges(present), last)
    found = {n for first, to in missing for n in range(first, to + 1)}
    assert found == set(range(dropped_to + 1, max([last, *present, *lost]) + 1)) - present - lost
    assert count(missing) == len(found)


@given(NUMBERS, st.integers(1, 70))
def test_a_loss_is_counted_once(present, last):
    account = Account(0)
    missing = account.missing(ranges(present), last)
    again = account.with_lost(missing).missing(ranges(present), last)
    assert again == ()


def test_where_nothing_is_known_of_retention_nothing_before_the_first_batch_is_claimed():
    assert Account().missing([(11, 20), (25, 30)], 32) == ((21, 24), (31, 32))
    assert Account().missing([], 32) == ()


def test_ranges_that_overlap_after_a_failed_commit_are_no_loss():
    assert Account(0).missing([(1, 12), (10, 20)], 20) == ()


def test_dropping_forgets_what_was_lost_before_it():
    account = Account(0).with_lost([(3, 4), (9, 9)]).with_dropped(5)
    assert account == Account(5, ((9, 9),))
    assert account.with_last(12).missing([(6, 8)], 0) == ()
    assert account.with_dropped(2).dropped_to == 5


@pytest.mark.parametrize(
    "state", [None, {}, [], {"dropped_to": "x", "lost": []}, {"dropped_to": 1, "lost": [[1]]}, {"dropped_to": 1}, {"dropped_to": 1, "lost": []}]
)
def test_a_state_that_cannot_be_read_is_an_account_that_knows_nothing(state):
    assert load_account(state) == Account()


def test_an_account_outlives_a_restart():
    account = Account(7).with_lost([(9, 12), (20, 20)]).with_last(31)
    assert load_account(account.dump()) == account
