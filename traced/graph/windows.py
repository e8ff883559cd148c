"""The clock of two windows of time that take turns: what is known covers between one and two of them."""

from __future__ import annotations

from typing import Final

WINDOW_SECONDS: Final = 3600.0


def turned(began: float, now: float) -> tuple[float, bool]:
    """Give when the present window began (unix seconds; `began` is 0 before the first), and whether it begins now because the last one was full."""
    began = began or now
    return (now, True) if now - began >= WINDOW_SECONDS else (began, False)
