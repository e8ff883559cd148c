"""What to mend first, as text: before the findings that go with it."""

from __future__ import annotations

from typing import Any

from traced.cli.output import clean, write_lines

MAX_SUSPECTS = 20
MAX_FINGERPRINTS = 8
"""Suspects, and findings of each, printed as text; JSON has all."""


def print_suspects(result: dict[str, Any]) -> None:
    """Print the suspects of an answer, with an empty line below each; nothing where there are none."""
    suspects: list[dict[str, Any]] = result.get("suspects", [])  # a daemon of an older version names none
    if not suspects:
        return
    write_lines(["what to fix first", ""])
    for suspect in suspects[:MAX_SUSPECTS]:
        write_lines([*map(clean, _lines(suspect)), ""])
    if len(suspects) > MAX_SUSPECTS:
        write_lines([f"… and {len(suspects) - MAX_SUSPECTS} more; --format json gives all", ""])
    if result["not_grouped"]:
        write_lines([f"{result['not_grouped']} findings, the mildest, are not among these", ""])


def _lines(suspect: dict[str, Any]) -> list[str]:
    one = suspect["count"] == 1
    goes = ("1 finding" if one else f"{suspect['count']} findings") + ((" goes" if one else " go") if suspect["known"] else " of unknown cause")
    lines = [f"{suspect['rank']}. {suspect['level']}  {suspect['place']}  {goes}, x{suspect['occurrences']}", f"   {suspect['message']}"]
    if suspect["how_to_fix"]:
        lines.append(f"   fix: {suspect['how_to_fix']}")
    more = ", …" if suspect["count"] > MAX_FINGERPRINTS else ""
    return [*lines, f"   findings: {', '.join(suspect['findings'][:MAX_FINGERPRINTS])}{more}"]
