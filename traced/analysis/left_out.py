"""What limits left out, of all parts of the analysis: told to the telemetry as it grows."""

from __future__ import annotations

from collections import Counter

from traced.analysis.edge_history import EdgeHistory
from traced.analysis.message_history import MessageHistory
from traced.analysis.passes import Passes
from traced.analysis.revisits import Revisits
from traced.analysis.settling import Settling
from traced.telemetry import AnalysisLimit, Telemetry


class LeftOut:
    """Remembers how much of it was told."""

    def __init__(self, telemetry: Telemetry) -> None:
        """Nothing was told yet."""
        self._telemetry = telemetry
        self._told: Counter[AnalysisLimit] = Counter()
        self._told_edges = 0
        self._told_missing = 0

    def tell(self, passes: Passes, settling: Settling, revisits: Revisits, edges: EdgeHistory, messages: MessageHistory) -> int:
        """Tell what was left out since it was told last; give how much of that are messages, or spans that may have been."""
        dropped = settling.let_go | passes.propagation.dropped
        dropped[AnalysisLimit.HISTORY] = passes.history.dropped + passes.waiting.dropped + passes.absences.dropped + passes.structure.dropped
        dropped[AnalysisLimit.LATE_LINKS] = passes.late_links.dropped
        dropped[AnalysisLimit.MESSAGES] = passes.messages.dropped + messages.dropped
        dropped[AnalysisLimit.HASTY_CLAIMS] = passes.hasty.dropped
        dropped[AnalysisLimit.REVISITS] = revisits.dropped
        dropped[AnalysisLimit.MEASUREMENTS] = passes.losses.dropped
        for limit, number in dropped.items():
            self._telemetry.leave_out(limit, number - self._told[limit])
        # what the graphs cannot hold, and what was forgotten before its publication came, is in the message log all the same
        missing = dropped[AnalysisLimit.MAX_SPANS_PER_TRACE] + passes.messages.unread
        more, self._told_missing = missing - self._told_missing, missing
        self._told = dropped
        self._telemetry.dropped_edges.inc(edges.dropped - self._told_edges)
        self._told_edges = edges.dropped
        return more
