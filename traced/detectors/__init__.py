"""One file per thing that can be wrong: rows and graphs to occurrences; pure.

A detector is a module here and a query of the same name in `queries/detectors/`. The package is walked; nothing is registered.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, Final

from traced.errors import ConfigurationError
from traced.model.occurrence import Level, Occurrence

Row = dict[str, Any]

_HEADINGS: Final = {"Criteria": "criteria", "Rationale": "rationale", "How to fix": "how_to_fix", "When it is wrong": "when_it_is_wrong"}


@dataclass(frozen=True, slots=True)
class Detector:
    """One detector.

    Attributes:
        id: its name: module, query and finding id in one.
        level: the worst level it gives.
        documentation: summary, criteria, rationale, how_to_fix, when_it_is_wrong (from the module's docstring).
        detect: its query's rows to occurrences.
        sentence: a finding's message, from one of its occurrences and their number.
        fix: the first step of the fix, for one of its occurrences: the module's `fix`, else the documentation's first paragraph.
        lasting: it speaks of no single trace (the module's LASTING), so looking at a trace again withdraws nothing.
        whole_view: it calls missing what others should have sent (the module's WHOLE_VIEW): silent where only a part of the system is seen.
    """

    id: str
    level: Level
    documentation: dict[str, str]
    detect: Callable[[Sequence[Row]], Iterable[Occurrence]]
    sentence: Callable[[Occurrence, int], str]
    fix: Callable[[Occurrence], str]
    lasting: bool = False
    whole_view: bool = False


@cache
def detectors() -> tuple[Detector, ...]:
    """Walk the package.

    Raises:
        ConfigurationError: a module lacks its docstring's headings, ID, LEVEL, `detect` or `sentence`, or its ID is not its file's name.
    """
    found = []
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        found.append(_detector(info.name, module))
    return tuple(sorted(found, key=lambda d: d.id))


def _detector(name: str, module: ModuleType) -> Detector:
    missing = [part for part in ("ID", "LEVEL", "detect", "sentence") if not hasattr(module, part)]
    documentation = parse_documentation(module.__doc__ or "")
    missing += [heading for heading, key in _HEADINGS.items() if not documentation.get(key)]
    if missing:
        raise ConfigurationError(f"detector {name} lacks {', '.join(missing)}", next_safe_actions=("Add them to the detector's module.",))
    if name != module.ID:
        raise ConfigurationError(f"detector {name} calls itself {module.ID}", next_safe_actions=("Give the file and its ID one name.",))
    first = documentation["how_to_fix"].split("\n\n")[0]
    fix = getattr(module, "fix", lambda _occurrence: first)
    habits = (getattr(module, "LASTING", False), getattr(module, "WHOLE_VIEW", False))
    return Detector(name, module.LEVEL, documentation, module.detect, module.sentence, fix, *habits)


def parse_documentation(docstring: str) -> dict[str, str]:
    """Split a detector's docstring at its headings (`Criteria:` and so on at the start of a line)."""
    sections: dict[str, list[str]] = {"summary": []}
    current = sections["summary"]
    for line in docstring.strip().splitlines():
        heading = line.strip().rstrip(":")
        if line.strip().endswith(":") and heading in _HEADINGS:
            current = sections.setdefault(_HEADINGS[heading], [])
        else:
            current.append(line)
    return {key: _unindented(lines) for key, lines in sections.items()}


def _unindented(lines: list[str]) -> str:
    """Give paragraphs as one line each, with an empty line between them."""
    paragraphs = "\n".join(line.strip() for line in lines).strip().split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def detector_ids() -> tuple[str, ...]:
    """Name all detectors."""
    return tuple(d.id for d in detectors())


def explain(detector_id: str) -> dict[str, str] | None:
    """Give a detector's documentation with its id and level; None where there is no such detector."""
    for detector in detectors():
        if detector.id == detector_id:
            return {"id": detector.id, "level": str(detector.level), **detector.documentation}
    return None


def iterate(rows: Sequence[Row]) -> Iterator[tuple[tuple[int, int], Row]]:
    """Give each row with its trace id."""
    for row in rows:
        yield (row["trace_id_high"], row["trace_id_low"]), row
