"""Text as senders write it: invalid UTF-8 is replaced and what is too long is cut, once, here; both are counted."""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

CUT: Final = "…"
"""Ends a text that was longer."""

Occurrences = Callable[[], npt.NDArray[np.int64]]
"""How often each of some distinct values stands in the request; asked only when one of them has to be changed."""


def clean_text(raw: pa.Array, max_bytes: int, altered: Counter[str], reason: str, occurrences: Occurrences | None = None) -> pa.Array:
    """Turn n binary values into text of at most `max_bytes` UTF-8 bytes each.

    Args:
        raw: binary; null stays null.
        max_bytes: longer text is cut at a character and ends in an ellipsis.
        altered: counts `invalid_utf8` and `{reason}_cut`.
        reason: what the values are.
        occurrences: how often each value counts; once if not given.
    """
    if len(raw) == 0:
        return raw.cast(pa.string())
    if (pc.max(pc.binary_length(raw)).as_py() or 0) <= max_bytes:
        try:
            return raw.cast(pa.string())
        except pa.ArrowInvalid:
            pass
    times = np.ones(len(raw), np.int64) if occurrences is None else occurrences()
    texts: list[str | None] = []
    for place, one in enumerate(raw):
        # as_buffer: most values are fine, and a long one is copied only up to the limit
        texts.append(None if not one.is_valid else clean_one(one.as_buffer(), max_bytes, altered, reason, int(times[place])))
    return pa.array(texts, pa.string())


def clean_one(raw: pa.Buffer | bytes, max_bytes: int, altered: Counter[str], reason: str, times: int = 1) -> str:
    """Clean one value; `times` is how often it counts."""
    too_long = len(raw) > max_bytes
    # a character that the limit divides is left out; only at the true end is an incomplete one invalid
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(bytes(raw[:max_bytes]), final=not too_long)
    if "\ufffd" in text and text.encode() != bytes(raw[:max_bytes])[: len(text.encode())]:
        altered["invalid_utf8"] += times
    # a replacement takes three bytes for one
    encoded = text.encode()
    if too_long or len(encoded) > max_bytes:
        altered[f"{reason}_cut"] += times
        return encoded[: max_bytes - len(CUT.encode())].decode("utf-8", "ignore") + CUT
    return text
