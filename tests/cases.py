"""How a detector's cases are written: a sentence, lines of spans, and what must be found where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from looking import look

Expected = dict[str, dict[str, Any]]
Fires = dict[str, tuple[Sequence[str], Expected]]
Silent = dict[str, Sequence[str]]


def fires(cases: Fires) -> pytest.MarkDecorator:
    """Parametrize a test with (lines, expected), each case's sentence for its id."""
    return pytest.mark.parametrize(("lines", "expected"), [pytest.param(lines, expected, id=sentence) for sentence, (lines, expected) in cases.items()])


def stays_silent(cases: Silent) -> pytest.MarkDecorator:
    """Parametrize a test with lines, each case's sentence for its id."""
    return pytest.mark.parametrize("lines", [pytest.param(lines, id=sentence) for sentence, lines in cases.items()])


def check_fires(detector: str, lines: Sequence[str], expected: Expected) -> None:
    """Hold what a detector finds in one pass against exactly what is expected: places, and some fields of each.

    A field is an attribute of the occurrence; `missing` is the name of the absent span; others are looked for in its context.
    """
    seen = look(lines, only=detector)
    found = seen.found(detector)
    assert set(found) == set(expected), f"{detector} was found at {sorted(found)}"
    names = seen.spans.names()
    for place, fields in expected.items():
        one = found[place]
        assert 0 < one.confidence <= 1
        for name, value in fields.items():
            if name == "missing":
                assert names[one.missing_span_id] == value
            else:
                assert (getattr(one, name) if hasattr(one, name) else one.context[name]) == value, (place, name)


def check_silent(detector: str, lines: Sequence[str]) -> None:
    """Hold that a detector finds nothing."""
    assert look(lines, only=detector).found(detector) == {}
