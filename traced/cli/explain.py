"""`traced explain`: what a detector means, when it is wrong, how to fix what it finds."""

from __future__ import annotations

import difflib
from typing import Annotated

import typer

from traced.cli.options import Format, FormatOption
from traced.cli.output import write_json, write_table, write_text
from traced.errors import NotFoundError

_SECTIONS = (("criteria", "Criteria"), ("rationale", "Rationale"), ("how_to_fix", "How to fix"), ("when_it_is_wrong", "When it is wrong"))


def explain(
    detector: Annotated[str | None, typer.Argument(metavar="ID", help="A detector's id, as findings show it; all are listed if absent.")] = None,
    *,
    output: FormatOption = Format.TEXT,
) -> None:
    """Say what a detector looks for, why, and what to do about what it finds."""
    from traced.detectors import detector_ids  # noqa: PLC0415 - `traced --help` needs no detector
    from traced.detectors import explain as documentation_of  # noqa: PLC0415

    if detector is None:
        known = [documentation_of(name) or {"id": name} for name in detector_ids()]
        if output is Format.JSON:
            write_json({"detectors": known})
        else:
            write_table(("id", "level", "summary"), [[one["id"], one.get("level"), one.get("summary")] for one in known])
        return
    documentation = documentation_of(detector)
    if documentation is None:
        raise no_such_detector(detector)
    if output is Format.JSON:
        write_json(documentation)
        return
    parts = [f"{documentation['id']} ({documentation['level']})", documentation["summary"]]
    parts += [f"{heading}\n{_indented(documentation[key])}" for key, heading in _SECTIONS if documentation.get(key)]
    write_text("\n\n".join(parts))


def no_such_detector(given: str) -> NotFoundError:
    """Say that no detector has this id, and which one was perhaps meant."""
    from traced.detectors import detector_ids  # noqa: PLC0415 - `traced --help` needs no detector

    close = difflib.get_close_matches(given, detector_ids(), n=1)
    return NotFoundError(
        f"there is no detector {given!r}" + (f" (did you mean {close[0]!r}?)" if close else ""),
        error_code="detector_not_found",
        next_safe_actions=("`traced explain` without an id lists them.",),
    )


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" if line.strip() else "" for line in text.strip().split("\n"))
