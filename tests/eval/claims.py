"""What may be said of a damaged set: what is demanded, and what is true but not asked for."""

from __future__ import annotations

from dataclasses import dataclass

from .traces import Key

UNDECIDED = frozenset({"", "unknown"})
"""Causes that decide nothing: never wrong, never right where a cause is known."""


@dataclass(frozen=True, slots=True)
class Expected:
    """An occurrence that ought to be reported.

    Attributes:
        id: the detector.
        keys: the spans at which it may be reported; most have one. More than one are still one occurrence.
        causes: those that are right; empty: the detector has none, or any is.
        peer: the service on the other side, where there is one.
        matched: the spans that may be named as the match; empty: none is asked for.
        missing: the span ids that may be named as absent; empty: none is asked for.
    """

    id: str
    keys: frozenset[Key]
    causes: frozenset[str] = frozenset()
    peer: str = ""
    matched: frozenset[Key] = frozenset()
    missing: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Allowed:
    """What is true but not demanded.

    Attributes:
        id: the detector.
        key: the span; None: so it is everywhere in the set.
        causes: those that are true; empty: any.
        strict: an undecided cause is not good enough, because nothing is wrong there.
    """

    id: str
    key: Key | None = None
    causes: frozenset[str] = frozenset()
    strict: bool = False

    def admits(self, cause: str) -> bool:
        """Tell whether a cause is true, or undecided where that will do."""
        return not self.causes or cause in self.causes or (cause in UNDECIDED and not self.strict)


@dataclass(frozen=True)
class Truth:
    """What is true of one damaged set."""

    expected: tuple[Expected, ...]
    allowed: tuple[Allowed, ...]


Claim = Expected | Allowed


def expected(detector: str, key: Key, *causes: str, peer: str = "") -> Expected:
    """Demand one occurrence at one span."""
    return Expected(detector, frozenset({key}), frozenset(causes), peer)


def allowed(detector: str, key: Key | None, *causes: str, strict: bool = False) -> Allowed:
    """Allow one occurrence."""
    return Allowed(detector, key, frozenset(causes), strict)
