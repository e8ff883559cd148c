"""The suspects behind a snapshot of findings: grouped once, when somebody asks, never on the way of the analysis."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from traced.graph.suspects import group
from traced.graph.together import SILENT, silent_callees
from traced.model.finding import Finding
from traced.model.occurrence import Occurrence
from traced.model.suspect import Suspects


class Grouping:
    """Remembers what it said of the last snapshot; any thread may ask, one of them computes."""

    def __init__(self) -> None:
        """Start with nothing found."""
        self._lock = threading.Lock()
        self._findings: tuple[Finding, ...] = ()
        self._suspects = Suspects()

    def of(self, findings: tuple[Finding, ...], traces: Callable[[], Sequence[Sequence[Occurrence]]]) -> Suspects:
        """Give the suspects of a snapshot, which is told from another by identity: a pass that changes findings makes a new one.

        Args:
            findings: the snapshot.
            traces: gives the open occurrences of each trace; asked only where a service reports nothing.
        """
        with self._lock:
            if self._findings is not findings:
                together = silent_callees(traces()) if any(finding.id == SILENT for finding in findings) else {}
                self._findings, self._suspects = findings, group(findings, together)
            return self._suspects
