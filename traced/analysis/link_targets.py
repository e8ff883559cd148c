"""Where span links lead: to a span of the pass, else to one that the store has."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traced.analysis.dangling import SpanSource
from traced.graph import relation
from traced.graph.forest import Forest
from traced.store.queries import load_folder
from traced.store.read_schemas import SPAN_BY_ID
from traced.store.workbench import Workbench
from traced.telemetry import AnalysisLimit, Telemetry

MAX_OUTSIDE_LINKS: Final = 10_000
"""Links of one pass whose targets are looked up in the store."""


class LinkTargets:
    """Finds the targets of links."""

    def __init__(self, workbench: Workbench, source: SpanSource, telemetry: Telemetry) -> None:
        """Look for what is not in a pass in `source`; links beyond the limit are counted in the telemetry."""
        self._workbench = workbench
        self._source = source
        self._telemetry = telemetry
        self._query = load_folder("analysis")["resolved_links"]

    def resolve(self, forest: Forest) -> pa.Table:
        """Give the links of a forest's spans (rows like `relation.NO_LINKS`), in the order of spans, and of a span as it carries them."""
        lists = forest.spans.column("links").combine_chunks()
        if isinstance(lists, pa.ChunkedArray):
            lists = pa.concat_arrays(lists.chunks) if lists.num_chunks else pa.nulls(0, forest.spans.schema.field("links").type)
        if lists.null_count == len(lists):
            return relation.NO_LINKS
        lengths = np.asarray(pc.fill_null(pc.list_value_length(lists), 0)).astype(np.int64)
        row = np.repeat(np.arange(forest.count), lengths)
        position = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths) + 1
        high, low, span_id, flags, attributes = lists.flatten().flatten()
        ids = [np.asarray(column) for column in (high, low, span_id)]
        target = forest.find(*ids)
        columns = {"row": row, "target": target, "position": position, "flags": flags, "attributes": attributes}
        links = pa.table(columns | dict(zip(("trace_id_high", "trace_id_low", "span_id"), ids, strict=True)))
        outside = links.filter(pa.array(target < 0)).select(["trace_id_high", "trace_id_low", "span_id"])
        if outside.num_rows > MAX_OUTSIDE_LINKS:
            self._telemetry.leave_out(AnalysisLimit.OUTSIDE_LINKS, outside.num_rows - MAX_OUTSIDE_LINKS)
        found = self._source.spans_by_id(outside.slice(0, MAX_OUTSIDE_LINKS)) if outside.num_rows else SPAN_BY_ID.empty_table()
        self._workbench.register({"links": links, "found": found})
        return self._workbench.run(self._query)
