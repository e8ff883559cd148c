"""Parts of traces are a habit only where gaps of both kinds are scattered, and remain once what comes late has come."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence

import pytest

from traced.graph.gone import CALLEE_GONE, CALLER_GONE, REMAINS, WHOLE, Gap
from traced.graph.parts import KEPT, LOST, MAX_EACH, PERHAPS, Parts

SECOND = 10**9
LETTERS = {"r": CALLER_GONE, "e": CALLEE_GONE, "w": WHOLE, "x": REMAINS}


def gaps(letters: Iterable[str], apart: float = 0.1, first: int = 0) -> list[Gap]:
    """Give one trace a letter, so many seconds apart: caller gone (r), callee gone (e), whole (w), remains (x); of web's calls to cart."""
    return [Gap(first + n, 0, n, round(n * apart * SECOND), LETTERS[letter], "web", "cart") for n, letter in enumerate(letters)]


def learned(*some: Sequence[Gap]) -> Parts:
    parts = Parts()
    for one in some:
        parts.learn(one)
    return parts


def drawn(number: int, seed: int = 1) -> list[str]:
    """Draw what two Collectors make of traces that each keeps two of five of."""
    return random.Random(seed).choices("rew", (0.24, 0.24, 0.16), k=number)


def test_traces_without_the_caller_and_without_the_callee_among_whole_ones_are_parts() -> None:
    parts = learned(gaps(drawn(60)))
    assert parts.kept("web") == parts.kept(called="cart") == KEPT
    assert parts.kept("cart") == parts.kept(called="web") == ""


@pytest.mark.parametrize(
    "letters",
    [
        pytest.param("w" * 100 + "r" * 35 + "w" * 100 + "e" * 10 + "w" * 55, id="each lost one batch"),
        pytest.param(("w" * 20 + "r" * 7 + "w" * 20 + "e" * 6) * 5 + "w" * 20, id="each lost five batches"),
        pytest.param("r" * 20 + "e" * 20, id="one died, then the other took its place"),
        pytest.param("r" * 40, id="one died, and no whole trace is known"),
        pytest.param("w" * 6 + "r" * 40, id="one died"),
    ],
)
def test_gaps_that_follow_one_another_are_losses(letters: str) -> None:
    assert learned(gaps(letters)).kept("web") == LOST


def test_a_batch_of_one_instance_of_two_is_no_part_of_traces() -> None:
    letters = "w" * 100 + "rw" * 35 + "w" * 100 + "ew" * 10 + "w" * 50
    assert learned(gaps(letters)).kept("web") != KEPT


def test_few_gaps_are_perhaps_parts() -> None:
    assert learned(gaps("wrewewrww")).kept("web") == PERHAPS


def test_traces_so_far_apart_that_each_is_a_batch_of_its_own_are_perhaps_parts() -> None:
    assert learned(gaps(drawn(60), apart=10)).kept("web") == PERHAPS


def test_remains_say_that_spans_were_lost() -> None:
    assert learned(gaps(drawn(60)), gaps("x" * 10, first=100)).kept("web") == ""


def test_gaps_of_one_kind_that_are_scattered_and_too_many_for_losses_are_perhaps_sampling() -> None:
    rng = random.Random(3)
    assert learned(gaps(rng.choices("rw", (0.3, 0.7), k=100))).kept("web") == PERHAPS
    assert learned(gaps(rng.choices("rw", (0.04, 0.96), k=100))).kept("web") == ""


def test_of_one_trace_the_worst_counts_and_it_counts_once() -> None:
    parts = learned(gaps("wwww"), gaps("rrrr"), gaps("wwww"), gaps("xxxx"))
    assert [row[3] for row in parts.dump()["events"] if row[1] == ">web"] == [REMAINS] * 4


def test_what_a_trace_showed_is_taken_back_when_the_rest_of_it_comes() -> None:
    letters = drawn(60)
    parts = learned(gaps(letters))
    parts.take_back(n for n, letter in enumerate(letters) if letter == "e")
    assert parts.kept("web") == PERHAPS
    parts.learn(gaps(letters))
    assert parts.kept("web") == KEPT
    parts.take_back(range(60))
    assert parts.kept("web") == ""
    assert parts.dump()["events"] == []


def test_of_more_traces_than_the_limit_the_oldest_are_forgotten() -> None:
    parts = learned(gaps("x" * (MAX_EACH + 1)))
    assert sorted(row[0] for row in parts.dump()["events"] if row[1] == ">web") == list(range(1, MAX_EACH + 1))


def test_what_is_older_than_two_windows_is_forgotten() -> None:
    parts = learned(gaps(drawn(60)))
    for hours in (1, 2, 3):
        parts.turn(3600.0 * hours)
    assert parts.kept("web") == ""


def test_a_restart_forgets_nothing() -> None:
    before, after = learned(gaps(drawn(60))), Parts()
    after.load(json.loads(json.dumps(before.dump())))
    assert after.kept("web") == KEPT
    assert after.dump() == before.dump()


def test_a_state_of_before_times_were_kept_is_taken_as_nothing_known() -> None:
    parts = learned(gaps(drawn(60)))
    parts.load({"turned": 5.0, "windows": [{}, {"web": [5, 5, 0]}], "traces": []})
    assert parts.kept("web") == ""
