"""Where DuckDB puts what does not fit into the memory of an instance: a directory for each, and no more in it than a limit.

Without these settings it is `.tmp` of the process' working directory, up to 90 % of what the disk has left.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

_NOWHERE: Final = {"temp_directory": "", "max_temp_directory_size": "0B"}


@dataclass(frozen=True, slots=True)
class Spill:
    """A directory for all instances; each has one of its own in it, because the last to close removes what lies there.

    Attributes:
        directory: it has to exist; DuckDB makes those in it when it needs them, and removes them.
        max_bytes: how much each instance may put there; one that needs more fails with an out-of-memory error of its own.
    """

    directory: Path
    max_bytes: int


def spill_settings(spill: Spill | None, name: str) -> dict[str, str]:
    """Give DuckDB's settings for the instance of a name; without a directory it puts nothing on disk."""
    if spill is None:
        return dict(_NOWHERE)
    return {"temp_directory": str(spill.directory / name), "max_temp_directory_size": f"{spill.max_bytes}B"}
