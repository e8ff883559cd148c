"""Takes the shop's migration through its steps by the clock, and stops publishing the old schema once that is said to be safe."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from traced.demo.rollout import STEP_SECONDS, WHAT_HAPPENS, Step

_SAFE = "SAFE"


class Moving(Protocol):
    """What is taken through the steps: the shop."""

    def go_to(self, step: Step) -> None:
        """Take the migration to a step."""


@dataclass(frozen=True, slots=True)
class Word:
    """Something that happened: a step that began, or a verdict that changed.

    Attributes:
        seconds: since the run began.
        step: under way.
        phase: in which `traced` says the migration is; empty before the first verdict.
        verdict: of stop-publish; empty where a step began.
        text: for people.
    """

    seconds: float
    step: Step
    phase: str
    verdict: str
    text: str


class RolloutRun:
    """Drives one run; `turn` is to be called every second or so."""

    def __init__(self, shop: Moving, ask: Callable[[], dict[str, Any]], clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with the first step.

        Args:
            shop: what is taken through the steps.
            ask: gives how the migration stands, as `/api/v1/migrations/NAME` does.
            clock: seconds.
        """
        self._shop = shop
        self._ask = ask
        self._clock = clock
        self._began = clock()
        self._step: Step | None = None
        self._said = ("", "")

    def turn(self) -> list[Word]:
        """Take the next step if it is time, and give what is new."""
        answer = self._ask()
        phase, gate = str(answer["phase"]), answer["gates"][0]
        verdict = str(gate["verdict"])
        seconds = self._clock() - self._began
        words = []
        step = self._due(seconds, verdict)
        if step is not self._step:
            self._shop.go_to(step)
            self._step = step
            words.append(Word(seconds, step, "", "", f"step {step} of {len(Step)}: {WHAT_HAPPENS[step]}"))
        if (phase, verdict) != self._said:
            self._said = (phase, verdict)
            words.append(Word(seconds, step, phase, verdict, f"traced says {phase}, {gate['sentence']}"))
        return words

    def _due(self, seconds: float, verdict: str) -> Step:
        left = seconds
        for step, lasts in STEP_SECONDS.items():
            if left < lasts:
                return step
            left -= lasts
        return Step.REMOVE if self._step is Step.REMOVE or (self._step is Step.VERIFY and verdict == _SAFE) else Step.VERIFY
