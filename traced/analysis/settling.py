"""Which traces have settled: quiet for `settle_seconds`, by arrival. Late spans reopen a trace that was analysed before."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from traced.store.queries import load_folder
from traced.store.recent_keys import Keys, RecentKeys, mix
from traced.store.workbench import Workbench
from traced.telemetry import AnalysisLimit

Mask = npt.NDArray[np.bool_]

_RESTORE_STEP: Final = 60_000_000_000
_IDS: Final = ["trace_id_high", "trace_id_low"]


class SpanSource(Protocol):
    """What the analysis needs of the store."""

    @property
    def visible_until(self) -> int:
        """Up to which arrival time (ns) everything can be read."""
        ...

    def window(self, since: int, until: int) -> pa.Table:
        """Give the spans with since < arrival <= until."""
        ...

    def trace_ids_between(self, since: int, until: int) -> tuple[Keys, Keys]:
        """Give (high, low) of each span with since < arrival <= until."""
        ...

    def window_of_traces(self, traces: pa.Table, since: int, until: int) -> pa.Table:
        """Give the spans of some traces in a window."""
        ...

    def repeats(self, since: int, until: int) -> pa.Table:
        """Give the repeated spans of a window."""
        ...


@dataclass(frozen=True, slots=True)
class Settled:
    """What one pass looks at.

    Attributes:
        spans: staged spans of settled traces; those of reopened traces whole.
        again: which of `spans` belong to reopened traces.
        fresh: which of `spans` no earlier pass looked at.
        unsettled: which of `spans` belong to traces that cannot be judged as a whole: let go while spans still came, or with
            earlier spans out of reach. Nothing is called absent in them.
        before: staged spans of reopened traces that an earlier pass looked at: those of `spans` that are not fresh.
        repeats: spans that came again, of settled traces.
        repeats_before: which of `repeats` an earlier pass looked at.
    """

    spans: pa.Table
    again: Mask
    fresh: Mask
    unsettled: Mask
    before: pa.Table
    repeats: pa.Table
    repeats_before: Mask


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the settling is: everything up to `cut` was handed out, but for what is held."""

    cut: int
    spans: pa.Table | None
    repeats: pa.Table | None


class Settling:
    """Goes through arrivals once, in order; holds the spans of traces that are not quiet yet.

    Attributes:
        let_go: traces handed out before they were quiet, by reason, and late spans of traces that are too old to be looked at whole.
    """

    def __init__(
        self,
        source: SpanSource,
        workbench: Workbench,
        late_window_nanos: int,
        late_window_traces: int,
        max_open_nanos: int,
        max_held_spans: int | None = None,
    ) -> None:
        """Start at the beginning of time; `restore` moves on to where an earlier run stopped.

        Args:
            source: the store.
            workbench: where staging runs.
            late_window_nanos: how far back the earlier spans of a reopened trace are looked for.
            late_window_traces: how many analysed traces are remembered.
            max_open_nanos: a trace that is never quiet is let go after so long.
            max_held_spans: above it the traces that began first are let go; None where everything must be held (files).
        """
        self._source = source
        self._workbench = workbench
        self._stage = load_folder("analysis")["staged_spans"]
        self._late_window = late_window_nanos
        self._max_open = max_open_nanos
        self._max_held = max_held_spans
        self._known = RecentKeys(late_window_traces)
        self._aged = RecentKeys(late_window_traces)
        """Traces that were analysed longer ago than the late window: their spans of then are not looked for any more."""
        self._lately: deque[tuple[int, Keys]] = deque()
        self._revisited = pa.table({name: pa.array([], pa.uint64()) for name in _IDS})
        self._place = _Place(0, None, None)
        self._undo: _Place | None = None
        self._looked_at: Keys | None = None
        self.let_go: Counter[AnalysisLimit] = Counter()

    @property
    def cut(self) -> int:
        """Up to which arrival (ns) everything was handed out or is held."""
        return self._place.cut

    @property
    def looked_at_until(self) -> int:
        """Up to which arrival (ns) everything was looked at or is held: what `advance` gave last counts once it is committed; for any thread."""
        undo = self._undo
        return self.cut if undo is None else undo.cut

    @property
    def holds(self) -> bool:
        """Whether anything waits for its trace to be quiet."""
        return self._place.spans is not None or self._place.repeats is not None

    @property
    def pending(self) -> bool:
        """Whether what `advance` gave last is not yet taken as looked at."""
        return self._undo is not None

    @property
    def waiting_traces(self) -> int:
        """Count the traces that are held because spans still come."""
        held = self._place.spans
        return 0 if held is None else len(np.unique(_trace_keys(held)))

    # ------------------------------------------------------------------ moving on

    def advance(self, until: int, quiet_until: int) -> Settled:
        """Take arrivals up to `until`; traces with a span in (until, quiet_until] are held.

        What it gave before is taken as looked at, unless `undo` was called. An error leaves everything as it was.
        """
        self.commit()
        place = self._place
        pool = _with(place.spans, self._staged(self._source.window(place.cut, until), place.cut, until))
        repeats = _with(place.repeats, self._source.repeats(place.cut, until))
        active = np.unique(mix(*self._source.trace_ids_between(until, quiet_until)))
        keys = _trace_keys(pool)
        forced, reasons = self._forced(pool, keys, np.isin(keys, active), until)
        active = active[~np.isin(active, forced)]
        holds, holds_repeat = np.isin(keys, active), np.isin(_trace_keys(repeats), active)
        settled = self._with_earlier(_where(pool, ~holds), _where(repeats, ~holds_repeat), forced, until, reasons)
        self._undo, self._looked_at = place, np.unique(keys[~holds])
        self._place = _Place(until, _where(pool, holds) if holds.any() else None, _where(repeats, holds_repeat) if holds_repeat.any() else None)
        self.let_go.update(reasons)
        return settled

    def commit(self) -> None:
        """Take what `advance` gave last as looked at: late spans of those traces reopen them from now on."""
        self._undo = None
        if self._looked_at is None:
            return
        until, keys = self.cut, self._looked_at
        self._looked_at = None
        if len(keys):
            self._known.add(keys[~self._known.contains(keys)])
            self._lately.append((until, keys))
        while self._lately and (self._lately[0][0] < until - self._late_window or len(self._lately) > 100_000):
            self._aged.add(self._lately.popleft()[1])

    def revisit(self, traces: Iterable[tuple[int, int]]) -> None:
        """Give traces (high, low) that were analysed before again with the next `advance`, though no span of them comes."""
        columns = [list(column) for column in zip(*traces, strict=True)] or [[], []]
        self._revisited = pa.table({name: pa.array(column, pa.uint64()) for name, column in zip(_IDS, columns, strict=True)})

    def undo(self) -> None:
        """Take back the last `advance`, whose traces could not be looked at; the next one gives them again."""
        if self._undo is not None:
            self._place = self._undo
        self._undo = self._looked_at = None

    def skip_to(self, cut: int) -> None:
        """Move on over a time in which nothing arrived; only where nothing is held."""
        self.commit()
        if not self.holds:
            self._place = _Place(cut, None, None)

    # ------------------------------------------------------------------ what cannot be held longer

    def _forced(self, pool: pa.Table, keys: Keys, holds: Mask, until: int) -> tuple[Keys, Counter[AnalysisLimit]]:
        """Name the traces that are handed out though spans still come: open for too long, or too much is held."""
        arrival = np.asarray(pool.column("arrival_time_unix_nano"))
        forced = np.unique(keys[holds & (arrival < until - self._max_open)])
        reasons: Counter[AnalysisLimit] = Counter()
        if len(forced):
            reasons[AnalysisLimit.MAX_OPEN_SECONDS] = len(forced)
            holds = holds & ~np.isin(keys, forced)
        if self._max_held is None or np.count_nonzero(holds) <= self._max_held:
            return forced, reasons
        traces, of, sizes = np.unique(keys[holds], return_inverse=True, return_counts=True)
        began = np.full(len(traces), np.iinfo(np.int64).max)
        np.minimum.at(began, of, arrival[holds])
        oldest = np.argsort(began, kind="stable")
        # down to half, so that it is not the next window's first business again
        ordered = sizes[oldest]
        left = ordered.sum() - (np.cumsum(ordered) - ordered)
        gone = traces[oldest[left > self._max_held // 2]]
        reasons[AnalysisLimit.MAX_HELD_SPANS] = len(gone)
        return np.union1d(forced, gone), reasons

    # ------------------------------------------------------------------ reopened traces

    def _with_earlier(self, settled: pa.Table, repeats: pa.Table, forced: Keys, until: int, reasons: Counter[AnalysisLimit]) -> Settled:
        keys = _trace_keys(settled)
        again = self._known.contains(keys)
        repeat_keys = _trace_keys(repeats)
        # a repeat of a trace that was analysed before reopens it too, or its duplicates would never be told
        reopened = self._known.contains(repeat_keys) & ~np.isin(repeat_keys, keys)
        revisited = self._to_revisit(keys)
        unsettled = np.isin(keys, forced)
        if not again.any() and not reopened.any() and not revisited.num_rows:
            none = np.zeros(settled.num_rows, bool)
            return Settled(settled, none, ~none, unsettled, settled.slice(0, 0), repeats, np.zeros(repeats.num_rows, bool))
        looked_at = [_where(settled, again).select(_IDS), _where(repeats, reopened).select(_IDS), revisited]
        traces = pa.concat_tables(looked_at).group_by(_IDS).aggregate([])
        since = max(0, until - self._late_window)
        whole = self._staged(self._source.window_of_traces(traces, since, until), since, until)
        before = _where(whole, ~np.isin(_row_keys(whole), _row_keys(settled)))
        before_keys = _trace_keys(before)
        out_of_reach = np.unique(keys[again & (self._aged.contains(keys) | ~np.isin(keys, before_keys))])
        if len(out_of_reach):
            reasons[AnalysisLimit.LATE_WINDOW_SECONDS] = len(out_of_reach)
        all_repeats, seen = self._earlier_repeats(repeats, before_keys, since, until)
        return Settled(
            pa.concat_tables([settled, before]),
            np.concatenate([again, np.ones(before.num_rows, bool)]),
            np.concatenate([np.ones(settled.num_rows, bool), np.zeros(before.num_rows, bool)]),
            np.concatenate([unsettled | np.isin(keys, out_of_reach), np.isin(before_keys, np.union1d(forced, out_of_reach))]),
            before,
            all_repeats,
            seen,
        )

    def _to_revisit(self, keys: Keys) -> pa.Table:
        """Give the ids of the traces to revisit that were analysed, are not in this window, and are not held."""
        asked, self._revisited = self._revisited, self._revisited.slice(0, 0)
        wanted = _trace_keys(asked)
        held = self._place.spans
        held_keys = _trace_keys(held) if held is not None else wanted[:0]
        return _where(asked, self._known.contains(wanted) & ~np.isin(wanted, keys) & ~np.isin(wanted, held_keys))

    def _earlier_repeats(self, repeats: pa.Table, trace_keys: Keys, since: int, until: int) -> tuple[pa.Table, Mask]:
        """Add the repeats of reopened traces that an earlier pass looked at; mark those."""
        earlier = self._source.repeats(since, until)
        earlier = _where(earlier, np.isin(_trace_keys(earlier), trace_keys))
        waiting = [_row_keys(repeats)] if self._place.repeats is None else [_row_keys(repeats), _row_keys(self._place.repeats)]
        earlier = _where(earlier, ~np.isin(_row_keys(earlier), np.concatenate(waiting)))
        marks = np.zeros(repeats.num_rows + earlier.num_rows, bool)
        marks[repeats.num_rows :] = True
        return pa.concat_tables([repeats, earlier]), marks

    def _staged(self, rows: pa.Table, since: int, until: int) -> pa.Table:
        self._workbench.register({"window_spans": rows})
        return self._workbench.run(self._stage, {"since": since, "until": until})

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> dict[str, Any]:
        """Give where it is as JSON values: the cut, and of each held trace its id, its first held arrival, and whether it was analysed before."""
        self.commit()
        return {"cut": self.cut, "held": self._dump_held(self._place.spans), "held_repeats": self._dump_held(self._place.repeats)}

    def _dump_held(self, rows: pa.Table | None) -> list[list[int]]:
        if rows is None:
            return []
        first = rows.group_by(_IDS).aggregate([("arrival_time_unix_nano", "min")])
        known = self._known.contains(_trace_keys(first))
        columns = [first.column(name).to_pylist() for name in (*_IDS, "arrival_time_unix_nano_min")]
        return [[*values, int(k)] for *values, k in zip(*columns, known.tolist(), strict=True)]

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `dump` was called: know the traces analysed before, hold what was held.

        Raises:
            KeyError, ValueError, TypeError: this is no such state.
        """
        cut = int(state["cut"])
        held, held_repeats = _held_traces(state["held"]), _held_traces(state["held_repeats"])
        new = _trace_keys(held)[np.asarray(held.column("known")) == 0]
        self._remember(cut, new)
        self._place = _Place(cut, self._read_held(held, cut), self._read_held_repeats(held_repeats, cut))

    def _remember(self, cut: int, not_yet: Keys) -> None:
        """Fill the memory of analysed traces from the store, the newest first until it is full."""
        parts: list[tuple[int, Keys]] = []
        end, remembered = cut, 0
        while end > max(0, cut - 2 * self._late_window) and remembered < self._known.capacity:
            keys = np.unique(mix(*self._source.trace_ids_between(end - _RESTORE_STEP, end)))
            parts.append((end, keys[~np.isin(keys, not_yet)]))
            remembered += len(keys)
            end -= _RESTORE_STEP
        for end, keys in reversed(parts):
            self._known.add(keys)
            if end < cut - self._late_window:
                self._aged.add(keys)
            else:
                self._lately.append((end, keys))

    def _read_held(self, held: pa.Table, cut: int) -> pa.Table | None:
        if not held.num_rows:
            return None
        since = int(np.asarray(held.column("first")).min()) - 1
        rows = self._staged(self._source.window_of_traces(held.select(_IDS), since, cut), since, cut)
        return _since_first(rows, held)

    def _read_held_repeats(self, held: pa.Table, cut: int) -> pa.Table | None:
        if not held.num_rows:
            return None
        return _since_first(self._source.repeats(int(np.asarray(held.column("first")).min()) - 1, cut), held)


def _with(held: pa.Table | None, new: pa.Table) -> pa.Table:
    return new if held is None else pa.concat_tables([held, new])


def _where(rows: pa.Table, mask: Mask) -> pa.Table:
    return rows if mask.all() else rows.filter(pa.array(mask))


def _held_traces(values: list[list[int]]) -> pa.Table:
    kinds = (pa.uint64(), pa.uint64(), pa.int64(), pa.int64())
    columns = [pa.array([row[place] for row in values], kind) for place, kind in enumerate(kinds)]
    return pa.table(columns, names=[*_IDS, "first", "known"])


def _since_first(rows: pa.Table, held: pa.Table) -> pa.Table | None:
    """Keep the rows of held traces that arrived no earlier than the first held one: those before were looked at."""
    keys = _trace_keys(held)
    order = np.argsort(keys)
    row_keys = _trace_keys(rows)
    place = np.minimum(np.searchsorted(keys[order], row_keys), len(keys) - 1)
    held_row = order[place]
    kept = (keys[held_row] == row_keys) & (np.asarray(rows.column("arrival_time_unix_nano")) >= np.asarray(held.column("first"))[held_row])
    return _where(rows, kept) if kept.any() else None


def _trace_keys(rows: pa.Table) -> Keys:
    return mix(np.asarray(rows.column("trace_id_high")), np.asarray(rows.column("trace_id_low")))


def _row_keys(rows: pa.Table) -> Keys:
    """Identify rows by trace, span, kind and arrival: rows of one trace that arrived together are looked at together."""
    return mix(
        np.asarray(rows.column("trace_id_high")),
        np.asarray(rows.column("trace_id_low")),
        np.asarray(rows.column("span_id")),
        np.asarray(rows.column("kind")).astype(np.uint64),
        np.asarray(rows.column("arrival_time_unix_nano")).astype(np.uint64),
    )
