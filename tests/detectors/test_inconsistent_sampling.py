"""Samplers of one trace did not decide by the same number."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pytest
from cases import Expected, Fires, Silent, check_fires, check_silent, fires, stays_silent
from looking import look

from traced.detectors.inconsistent_sampling import BELOW_THRESHOLD, RANDOMNESS_DIFFERS, sentence
from traced.model.occurrence import Level

DETECTOR = "inconsistent_sampling"
RANDOM = "flags=0x103"
ONE, TWO, THREE = "11111111111111", "22222222222222", "33333333333333"


def trace(said: str, low: str) -> str:
    """Give a trace id of its own whose low 56 bits are given."""
    return hashlib.blake2b(said.encode(), digest_size=9).hexdigest() + low.rjust(14, "0")


LOW, HIGH = "3" + "0" * 13, "d" + "0" * 13
"""Randomness below and above one half."""

FIRES: Fires = {
    "a service gave the trace a second randomness": (
        [f"web SERVER a state=ot=rv:{ONE}", f"web CLIENT b<a state=ot=rv:{ONE}", f"cart SERVER c<b state=ot=rv:{TWO}"],
        {
            "c": {
                "service": "cart",
                "level": Level.VIOLATION,
                "cause": RANDOMNESS_DIFFERS,
                "confidence": 0.99,
                "randomness": TWO,
                "other_randomness": ONE,
                "spans": 1,
            },
        },
    ),
    "told where it begins, not of everything below": (
        [
            f"web SERVER a state=ot=rv:{ONE}",
            f"cart SERVER b<a state=ot=rv:{TWO}",
            f"cart CLIENT c<b state=ot=rv:{TWO}",
            f"stock SERVER d<c state=ot=rv:{TWO}",
        ],
        {"b": {"service": "cart", "spans": 1}},
    ),
    "each service that did it": (
        [f"web SERVER a state=ot=rv:{ONE}", f"cart SERVER b<a state=ot=rv:{TWO}", f"stock SERVER c<b state=ot=rv:{THREE}"],
        {"b": {"other_randomness": ONE}, "c": {"service": "stock", "other_randomness": TWO}},
    ),
    "once for a service that did it twice, at its earliest span": (
        [f"web SERVER a state=ot=rv:{ONE}", f"cart SERVER b<a state=ot=rv:{TWO} +20ms", f"cart SERVER c<a state=ot=rv:{THREE} +10ms"],
        {"c": {"spans": 2}},
    ),
    "below a service that forgot the first one": (
        [f"web SERVER a state=ot=rv:{ONE}", "cart SERVER b<a", f"stock SERVER c<b state=ot=rv:{TWO}"],
        {"c": {"service": "stock", "other_randomness": ONE}},
    ),
    "below an absent parent": (
        [f"web SERVER a state=ot=rv:{ONE}", f"stock SERVER c<x state=ot=rv:{TWO}"],
        {"c": {"other_randomness": ONE}},
    ),
    "beside other vendors' members, with spaces, in any order": (
        [
            f'web SERVER a "state=rojo=00f067aa0ba902b7 , ot=th:0;rv:{ONE}"',
            f'cart SERVER b<a "state=ot=rv:{TWO};th:0 ,congo=t61rcWkgMzE"',
        ],
        {"b": {"randomness": TWO}},
    ),
    "kept with a randomness below its own threshold": (
        [f"web SERVER a state=ot=th:8;rv:{ONE}"],
        {
            "a": {
                "level": Level.VIOLATION,
                "cause": BELOW_THRESHOLD,
                "confidence": 0.99,
                "threshold": "8" + "0" * 13,
                "randomness": ONE,
                "randomness_from": "rv",
            },
        },
    ),
    "just below": ([f"web SERVER a state=ot=th:{ONE};rv:11111111111110"], {"a": {"threshold": ONE}}),
    "a trace id that flags call random, below the threshold": (
        [f"web SERVER {trace('random', LOW)}:a {RANDOM} state=ot=th:8"],
        {f"{trace('random', LOW)}:a": {"level": Level.VIOLATION, "confidence": 0.97, "randomness": LOW, "randomness_from": "random trace id"}},
    ),
    "a trace id that is only presumed to be random: an improvement": (
        [f"web SERVER {trace('presumed', LOW)}:a state=ot=th:8"],
        {f"{trace('presumed', LOW)}:a": {"level": Level.IMPROVEMENT, "confidence": 0.75, "randomness_from": "trace id, presumed random"}},
    ),
    "below a service whose randomness cannot be read": (
        [f"web SERVER {trace('unreadable', LOW)}:a state=ot=th:8;rv:zz", f"cart SERVER {trace('unreadable', LOW)}:b<a {RANDOM} state=ot=th:8"],
        {f"{trace('unreadable', LOW)}:b": {"service": "cart", "confidence": 0.97}},
    ),
    "`rv` counts, not the trace id": (
        [f"web SERVER {trace('rv counts', HIGH)}:a state=ot=th:8;rv:{ONE}"],
        {f"{trace('rv counts', HIGH)}:a": {"randomness": ONE}},
    ),
    "a parent-based sampler carries it on: told where it begins": (
        [f"web SERVER a state=ot=th:8;rv:{ONE}", f"web CLIENT b<a state=ot=th:8;rv:{ONE}", f"cart SERVER c<b state=ot=th:8;rv:{ONE}"],
        {"a": {"spans": 1}},
    ),
    "a service of its own threshold, below it": (
        [f"web SERVER a state=ot=th:1;rv:{TWO}", f"cart SERVER b<a state=ot=th:8;rv:{TWO}"],
        {"b": {"service": "cart", "cause": BELOW_THRESHOLD}},
    ),
    "both in one service: the second randomness is the graver": (
        [f"web SERVER a state=ot=rv:{TWO}", f"cart SERVER b<a state=ot=th:8;rv:{ONE}"],
        {"b": {"cause": RANDOMNESS_DIFFERS}},
    ),
}

STAYS_SILENT: Silent = {
    "no state": ["web SERVER a", "cart SERVER b<a"],
    "other vendors' state": ["web SERVER a state=rojo=1,congo=t61", "cart SERVER b<a state=rojo=2"],
    "one randomness everywhere": [f"web SERVER a state=ot=th:0;rv:{ONE}", f"cart SERVER b<a state=ot=th:0;rv:{ONE}"],
    "one randomness, which one service does not write": [f"web SERVER a state=ot=rv:{ONE}", "cart SERVER b<a", f"stock SERVER c<b state=ot=rv:{ONE}"],
    "two traces, each its own randomness": [f"web SERVER one:a state=ot=rv:{ONE}", f"web SERVER two:a state=ot=rv:{TWO}"],
    "differing thresholds, each kept rightly": [f"web SERVER a state=ot=th:8;rv:{'c' * 14}", f"cart SERVER b<a state=ot=th:4;rv:{'c' * 14}"],
    "exactly the threshold is kept": [f"web SERVER a state=ot=th:{ONE};rv:{ONE}"],
    "a short threshold is padded on the right": ["web SERVER a state=ot=th:1;rv:10000000000000", "cart SERVER b<a"],
    "everything is kept": [f"web SERVER a state=ot=th:0;rv:{'0' * 14}"],
    "a low randomness without a threshold": [f"web SERVER a state=ot=rv:{'0' * 14}"],
    "a low trace id without a threshold": [f"web SERVER {trace('low alone', LOW)}:a {RANDOM}"],
    "a trace id above the threshold": [f"web SERVER {trace('above', HIGH)}:a {RANDOM} state=ot=th:8"],
    "`rv` above the threshold, the trace id below": [f"web SERVER {trace('rv above', LOW)}:a {RANDOM} state=ot=th:8;rv:{'c' * 14}"],
    "the eighth byte of the trace id does not count": [f"web SERVER {trace('eighth', HIGH)[:17]}0{HIGH}:a {RANDOM} state=ot=th:8"],
    "a threshold of fifteen digits": [f"web SERVER {trace('fifteen', LOW)}:a {RANDOM} state=ot=th:800000000000000"],
    "a threshold that is no hex": [f"web SERVER {trace('no hex', LOW)}:a {RANDOM} state=ot=th:8x"],
    "a threshold in capitals": [f"web SERVER {trace('capitals', LOW)}:a {RANDOM} state=ot=th:F"],
    "an empty threshold": [f"web SERVER {trace('empty', LOW)}:a {RANDOM} state=ot=th:"],
    "a randomness of thirteen digits": [f"web SERVER a state=ot=rv:{ONE}", f"cart SERVER b<a state=ot=rv:{TWO[1:]}"],
    "a randomness of fifteen digits": [f"web SERVER a state=ot=rv:{ONE}", f"cart SERVER b<a state=ot=rv:{TWO}2"],
    "a randomness that cannot be read stands in the trace id's place": [f"web SERVER {trace('unread', LOW)}:a {RANDOM} state=ot=th:8;rv:zz"],
    "a member whose key only ends in ot": [
        f"web SERVER {trace('robot', LOW)}:a {RANDOM} state=robot=th:8",
        f"web SERVER {trace('tenant', LOW)}:a {RANDOM} state=x@ot=th:8",
    ],
    "a part whose key only ends in th": [f"web SERVER {trace('width', LOW)}:a {RANDOM} state=ot=width:8"],
    "a member that is too long": [f"web SERVER {trace('long', LOW)}:a {RANDOM} state=ot=th:8;x:{'y' * 260}"],
    "an empty member": [f"web SERVER {trace('nothing', LOW)}:a {RANDOM} state=ot="],
    "only commas": [f"web SERVER {trace('commas', LOW)}:a {RANDOM} state=,,,;,="],
}


@fires(FIRES)
def test_fires(lines: Sequence[str], expected: Expected) -> None:
    check_fires(DETECTOR, lines, expected)


@stays_silent(STAYS_SILENT)
def test_stays_silent(lines: Sequence[str]) -> None:
    check_silent(DETECTOR, lines)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            [f"web SERVER a state=ot=rv:{ONE}", f"cart SERVER b<a state=ot=rv:{TWO}"],
            "2 traces got a second randomness value in cart, so samplers below decide differently from those above.",
        ),
        ([f"web SERVER a state=ot=th:8;rv:{ONE}"], "2 traces were kept in web though their own sampling threshold says that they were dropped."),
    ],
)
def test_its_sentence_says_which_contradiction(lines: list[str], said: str) -> None:
    (one,) = look(lines, only=DETECTOR).found(DETECTOR).values()
    assert sentence(one, 2) == said
