"""What a query gave back: columns, rows, and whether a limit cut it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Rows of one query, ready to be written as JSON.

    Attributes:
        columns: the names, in order; a repeated name gets a number.
        rows: one list a row; values are None, bool, int within 64 bits, finite float, str, list or dict with text keys.
        truncated: a row or byte limit left rows out.
    """

    columns: list[str] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    truncated: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON shape of `POST /api/v1/query` and `traced query --format json`."""
        return {"columns": self.columns, "rows": self.rows, "truncated": self.truncated}
