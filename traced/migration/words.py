"""Numbers and times as people read them."""

from __future__ import annotations

from typing import Final

_UNITS: Final = ((86400.0, "day"), (3600.0, "hour"), (60.0, "minute"), (1.0, "second"))
_ROUND_FROM: Final = 10


def duration(seconds: float) -> str:
    """Give a duration in its largest unit of which there are two, one decimal below ten of them: `13.5 days`."""
    for size, name in _UNITS:
        if seconds >= 2 * size or (size == 1.0):
            amount = seconds / size
            text = f"{amount:.0f}" if amount >= _ROUND_FROM else f"{amount:.1f}".removesuffix(".0")
            return f"{text} {name}{'' if text == '1' else 's'}"
    raise AssertionError


def count(number: int, thing: str) -> str:
    """Give a number of things: `1 message`, `12,000 messages`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def share(part: float) -> str:
    """Give a share in percent, with as many digits as say something."""
    return f"{part * 100:.3g} %"


def quoted(name: str, most: int = 80) -> str:
    """Give a name that a sender chose: on one line, cut, and without what would break the line."""
    plain = "".join(c if c.isprintable() else "?" for c in name)
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def listed(names: list[str], most: int = 5) -> str:
    """Give names with commas, and how many more there are."""
    shown = ", ".join(quoted(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
