"""Label values that are safe to show, and a limit on how many of them."""

from __future__ import annotations

import threading
import unicodedata
from collections.abc import Callable
from typing import Final, TypeVar

OTHER: Final = "__other__"
"""The label value under which everything over the series limit is summed."""
MAX_LABEL_CHARACTERS: Final = 128
_BIDI: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_MARKUP: Final = str.maketrans(dict.fromkeys("<>&\"'", "_"))

Labels = tuple[str, ...]
T = TypeVar("T")


def clean_label(text: str) -> str:
    """Make any text safe as a label value: valid UTF-8, no control or bidi characters, no markup, at most 128 characters.

    A lone surrogate would end the whole scrape, and label values were the way of stored XSS into more than one UI.
    """
    whole = text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
    if not (whole.isascii() and whole.isprintable()):
        whole = "".join(c for c in whole if c not in _BIDI and unicodedata.category(c) not in {"Cc", "Cs", "Zl", "Zp"})
    return whole.translate(_MARKUP)[:MAX_LABEL_CHARACTERS]


class SeriesLimit:
    """Lets the first `max_series` label sets of a metric through and sums the others into `__other__`.

    Who was let through once stays: a counter whose label set moved to `__other__` and back would seem to restart.
    """

    def __init__(self, max_series: int) -> None:
        self._max_series = max_series
        self._admitted: set[Labels] = set()
        self._lock = threading.Lock()

    def apply(self, series: dict[Labels, T], plus: Callable[[T, T], T]) -> tuple[dict[Labels, T], int]:
        """Give the series with the surplus summed up, and how many label sets that was."""
        kept: dict[Labels, T] = {}
        dropped = 0
        with self._lock:
            for labels, value in series.items():
                if len(self._admitted) < self._max_series:
                    self._admitted.add(labels)
                if labels not in self._admitted:
                    dropped += 1
                shown = labels if labels in self._admitted else (OTHER,) * len(labels)
                kept[shown] = plus(kept[shown], value) if shown in kept else value
        return kept, dropped
