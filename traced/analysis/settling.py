"""Which traces have settled: quiet for `settle_seconds`, by arrival. Late spans reopen a trace that was analysed before."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa

from traced.analysis.giants import NO_SIZES, Giants, Reading, crowded, kept, plan
from traced.analysis.settled import IDS, Mask, Settled, row_keys, trace_keys, where
from traced.store.queries import load_folder
from traced.store.recent_keys import Keys, RecentKeys, mix
from traced.store.workbench import Workbench
from traced.telemetry import AnalysisLimit

_RESTORE_STEP: Final = 60_000_000_000
_UNBOUNDED: Final = 2**62


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

    def trace_sizes(self, traces: pa.Table, since: int, until: int) -> pa.Table:
        """Count the spans of some traces in a window, and say when the first arrived."""
        ...

    def window_of_traces(self, traces: pa.Table, since: int, until: int) -> pa.Table:
        """Give the spans of some traces in a window."""
        ...

    def repeats(self, since: int, until: int) -> pa.Table:
        """Give the repeated spans of a window."""
        ...


@dataclass(frozen=True, slots=True)
class _Taken:
    """What becomes of the last `advance` once it is looked at: the traces that were analysed, those that are giants, and what was left out."""

    keys: Keys
    giants: Iterable[int]
    left_out: Counter[AnalysisLimit]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the settling is: everything up to `cut` was handed out, or left out of a giant trace, but for what is held."""

    cut: int
    spans: pa.Table | None
    repeats: pa.Table | None


class Settling:
    """Goes through arrivals once, in order; holds the spans of traces that are not quiet yet.

    Attributes:
        let_go: traces handed out before they were quiet, by reason, late spans of traces that are too old to be looked at whole, and spans left out
            of giant traces.
        put_off: how many traces wait for the next `advance`, because the last one would have read too much.
        not_revisited: those of them (high, low) that were to be revisited.
    """

    def __init__(
        self,
        source: SpanSource,
        workbench: Workbench,
        late_window_nanos: int,
        late_window_traces: int,
        max_open_nanos: int,
        max_spans_per_pass: int | None = None,
        max_spans_per_trace: int = _UNBOUNDED,
    ) -> None:
        """Start at the beginning of time; `restore` moves on to where an earlier run stopped.

        Args:
            source: the store.
            workbench: where staging runs.
            late_window_nanos: how far back the earlier spans of a reopened trace are looked for.
            late_window_traces: how many analysed traces are remembered.
            max_open_nanos: a trace that is never quiet is let go after so long.
            max_spans_per_pass: where more is held, the traces that began first are let go; where more would be read of reopened traces, some of them
                wait for the next pass. None where everything must be held, and read at once (files).
            max_spans_per_trace: so many spans of a trace are handed out.
        """
        self._source = source
        self._workbench = workbench
        self._stage = load_folder("analysis")["staged_spans"]
        self._late_window = late_window_nanos
        self._max_open = max_open_nanos
        self._max_held = max_spans_per_pass
        self._max_per_trace = max_spans_per_trace
        self._giants = Giants(late_window_nanos)
        self._known = RecentKeys(late_window_traces)
        self._aged = RecentKeys(late_window_traces)
        """Traces that were analysed longer ago than the late window: their spans of then are not looked for any more."""
        self._lately: deque[tuple[int, Keys]] = deque()
        self._revisited = pa.table({name: pa.array([], pa.uint64()) for name in IDS})
        self._place = _Place(0, None, None)
        self._undo: _Place | None = None
        self._taken: _Taken | None = None
        self.let_go: Counter[AnalysisLimit] = Counter()
        self.put_off = 0
        self.not_revisited: frozenset[tuple[int, int]] = frozenset()

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
        return 0 if held is None else len(np.unique(trace_keys(held)))

    # ------------------------------------------------------------------ moving on

    def advance(self, until: int, quiet_until: int) -> Settled:
        """Take arrivals up to `until`; traces with a span in (until, quiet_until] are held.

        What it gave before is taken as looked at, unless `undo` was called. An error leaves everything as it was.
        """
        self.commit()
        place = self._place
        new = self._source.window(place.cut, until)
        more = self._giants.more_of(new)  # left out before anything is done with it
        pool = _with(place.spans, self._staged(where(new, ~more), place.cut, until))
        repeats = _with(place.repeats, self._source.repeats(place.cut, until))
        active = np.unique(mix(*self._source.trace_ids_between(until, quiet_until)))
        keys, repeat_keys = trace_keys(pool), trace_keys(repeats)
        forced, reasons = self._forced(pool, keys, np.isin(keys, active), until)
        active = active[~np.isin(active, forced)]
        known, ready, ready_repeats = self._known.contains(keys), ~np.isin(keys, active), ~np.isin(repeat_keys, active)
        reading = self._reading(keys[ready], where(pool.select(IDS), ready & known), where(repeats.select(IDS), ready_repeats), until)
        waits = np.union1d(active, reading.put_off)
        holds, holds_repeat = np.isin(keys, waits), np.isin(repeat_keys, waits)
        settled, left_out = self._with_earlier(where(pool, ~holds), known[~holds], where(repeats, ~holds_repeat), reading, forced, until)
        left_out[AnalysisLimit.MAX_SPANS_PER_TRACE] += int(np.count_nonzero(more))
        for reason, traces in reasons.items():
            left_out[reason] = int(np.count_nonzero(~np.isin(traces, reading.put_off)))
        giants = [*np.unique(trace_keys(where(new, more))).tolist(), *reading.rooms]
        self._undo, self._taken = place, _Taken(np.unique(keys[~holds]), giants, left_out)
        self._place = _Place(until, where(pool, holds) if holds.any() else None, where(repeats, holds_repeat) if holds_repeat.any() else None)
        return settled

    def commit(self) -> None:
        """Take what `advance` gave last as looked at: late spans of those traces reopen them from now on."""
        self._undo = None
        if self._taken is None:
            return
        until, taken, keys = self.cut, self._taken, self._taken.keys
        self._taken = None
        self.let_go.update(taken.left_out)
        self._giants.note(taken.giants, until)
        if len(keys):
            self._known.add(keys[~self._known.contains(keys)])
            self._lately.append((until, keys))
        while self._lately and (self._lately[0][0] < until - self._late_window or len(self._lately) > 100_000):
            self._aged.add(self._lately.popleft()[1])

    def revisit(self, traces: Iterable[tuple[int, int]]) -> None:
        """Give traces (high, low) that were analysed before again with the next `advance`, though no span of them comes."""
        columns = [list(column) for column in zip(*traces, strict=True)] or [[], []]
        self._revisited = pa.table({name: pa.array(column, pa.uint64()) for name, column in zip(IDS, columns, strict=True)})

    def undo(self) -> None:
        """Take back the last `advance`, whose traces could not be looked at; the next one gives them again."""
        if self._undo is not None:
            self._place = self._undo
        self._undo = self._taken = None

    def skip_to(self, cut: int) -> None:
        """Move on over a time in which nothing arrived; only where nothing is held."""
        self.commit()
        if not self.holds:
            self._place = _Place(cut, None, None)

    # ------------------------------------------------------------------ what cannot be held longer

    def _forced(self, pool: pa.Table, keys: Keys, holds: Mask, until: int) -> tuple[Keys, dict[AnalysisLimit, Keys]]:
        """Name the traces that are handed out though spans still come: open for too long, or too much is held, of one or of all; and why."""
        arrival = np.asarray(pool.column("arrival_time_unix_nano"))
        forced = np.unique(keys[holds & (arrival < until - self._max_open)])
        reasons = {AnalysisLimit.MAX_OPEN_SECONDS: forced}
        if self._max_held is None:
            return forced, reasons
        if crowded(keys[holds], self._max_per_trace):
            # more of a giant would be left out anyway; what is left out is counted by spans
            traces, sizes = np.unique(keys[holds], return_counts=True)
            forced = np.union1d(forced, traces[sizes > self._max_per_trace])
        holds = holds & ~np.isin(keys, forced)
        if np.count_nonzero(holds) <= self._max_held:
            return forced, reasons
        traces, of, sizes = np.unique(keys[holds], return_inverse=True, return_counts=True)
        began = np.full(len(traces), np.iinfo(np.int64).max)
        np.minimum.at(began, of, arrival[holds])
        oldest = np.argsort(began, kind="stable")
        # down to half, so that it is not the next window's first business again
        ordered = sizes[oldest]
        left = ordered.sum() - (np.cumsum(ordered) - ordered)
        gone = traces[oldest[left > self._max_held // 2]]
        reasons[AnalysisLimit.MAX_HELD_SPANS] = gone
        return np.union1d(forced, gone), reasons

    # ------------------------------------------------------------------ reopened traces

    def _reading(self, keys: Keys, again: pa.Table, repeats: pa.Table, until: int) -> Reading:
        """Choose what is read of traces that were analysed before, and say how much of giants is looked at.

        Args:
            keys: the trace of each span that has settled.
            again: the ids of those of them that were analysed before.
            repeats: the ids of repeats that have settled.
            until: up to which arrival (ns) they came.
        """
        repeat_keys = trace_keys(repeats)
        # a repeat of a trace that was analysed before reopens it too, or its duplicates would never be told
        reopened = self._known.contains(repeat_keys) & ~np.isin(repeat_keys, keys) & ~self._giants.marks(repeat_keys)
        revisited = self._to_revisit(keys)
        asked = pa.concat_tables([again, where(repeats, reopened), revisited])
        asked = asked.take(np.sort(np.unique(trace_keys(asked), return_index=True)[1]))
        since = max(0, until - self._late_window)
        sizes = self._source.trace_sizes(asked, since, until) if asked.num_rows else NO_SIZES
        reading = plan(keys, asked, sizes, self._max_per_trace, self._max_held)
        off = where(revisited, np.isin(trace_keys(revisited), reading.put_off)) if len(reading.put_off) else revisited.slice(0, 0)
        self.put_off = len(reading.put_off)
        self.not_revisited = frozenset(zip(*(column.to_pylist() for column in off.columns), strict=True))
        return reading

    def _with_earlier(
        self, new: pa.Table, again: Mask, repeats: pa.Table, reading: Reading, forced: Keys, until: int
    ) -> tuple[Settled, Counter[AnalysisLimit]]:
        """Add the earlier spans of reopened traces (`again`), leave out what is too much of giants, and count it by reason."""
        keys = trace_keys(new)
        looked_at = kept(new, keys, reading.rooms)
        settled, keys, again = where(new, looked_at), keys[looked_at], again[looked_at]
        before = new.slice(0, 0)
        if reading.traces.num_rows:
            whole = self._staged(self._source.window_of_traces(reading.traces, reading.since, until), reading.since, until)
            before = where(whole, ~np.isin(row_keys(whole), row_keys(new)))
        before_keys = trace_keys(before)
        out_of_reach = np.unique(keys[again & (self._aged.contains(keys) | ~np.isin(keys, before_keys))])
        left_out = Counter({AnalysisLimit.LATE_WINDOW_SECONDS: len(out_of_reach), AnalysisLimit.MAX_SPANS_PER_TRACE: int(np.count_nonzero(~looked_at))})
        unsettled = np.union1d(np.union1d(forced, out_of_reach), np.fromiter(reading.rooms, np.uint64, len(reading.rooms)))
        all_repeats, seen = self._earlier_repeats(repeats, before_keys, until)
        fresh = np.zeros(settled.num_rows + before.num_rows, bool)
        fresh[: settled.num_rows] = True
        all_keys = np.concatenate([keys, before_keys])
        spans = pa.concat_tables([settled, before]) if before.num_rows else settled
        result = Settled(
            spans, np.concatenate([again, ~fresh[settled.num_rows :]]), fresh, np.isin(all_keys, unsettled), before, all_repeats, seen, len(reading.rooms)
        )
        return result, left_out

    def _to_revisit(self, keys: Keys) -> pa.Table:
        """Give the ids of the traces to revisit that were analysed, are not in this window, are not held, are no giants, and within reach as a whole."""
        asked, self._revisited = self._revisited, self._revisited.slice(0, 0)
        wanted = trace_keys(asked)
        held = self._place.spans
        held_keys = trace_keys(held) if held is not None else wanted[:0]
        kept_out = np.isin(wanted, keys) | np.isin(wanted, held_keys) | self._giants.marks(wanted) | self._aged.contains(wanted)
        return where(asked, self._known.contains(wanted) & ~kept_out)

    def _earlier_repeats(self, repeats: pa.Table, traces: Keys, until: int) -> tuple[pa.Table, Mask]:
        """Add the repeats of reopened traces that an earlier pass looked at; mark those."""
        if not len(traces):
            return repeats, np.zeros(repeats.num_rows, bool)
        earlier = self._source.repeats(max(0, until - self._late_window), until)
        earlier = where(earlier, np.isin(trace_keys(earlier), traces))
        waiting = [row_keys(repeats)] if self._place.repeats is None else [row_keys(repeats), row_keys(self._place.repeats)]
        earlier = where(earlier, ~np.isin(row_keys(earlier), np.concatenate(waiting)))
        marks = np.zeros(repeats.num_rows + earlier.num_rows, bool)
        marks[repeats.num_rows :] = True
        return pa.concat_tables([repeats, earlier]), marks

    def _staged(self, rows: pa.Table, since: int, until: int) -> pa.Table:
        self._workbench.register({"window_spans": rows})
        return self._workbench.run(self._stage, {"since": since, "until": until})

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> dict[str, Any]:
        """Give where it is as JSON values: the cut, of each held trace its id, its first held arrival, and whether it was analysed before, and giants."""
        self.commit()
        held, held_repeats = self._dump_held(self._place.spans), self._dump_held(self._place.repeats)
        return {"cut": self.cut, "held": held, "held_repeats": held_repeats, "giants": self._giants.dump()}

    def _dump_held(self, rows: pa.Table | None) -> list[list[int]]:
        if rows is None:
            return []
        first = rows.group_by(IDS).aggregate([("arrival_time_unix_nano", "min")])
        known = self._known.contains(trace_keys(first))
        columns = [first.column(name).to_pylist() for name in (*IDS, "arrival_time_unix_nano_min")]
        return [[*values, int(k)] for *values, k in zip(*columns, known.tolist(), strict=True)]

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `dump` was called: know the traces analysed before, hold what was held.

        Raises:
            KeyError, ValueError, TypeError: this is no such state.
        """
        cut = int(state["cut"])
        held, held_repeats = _held_traces(state["held"]), _held_traces(state["held_repeats"])
        new = trace_keys(held)[np.asarray(held.column("known")) == 0]
        self._giants.load(state.get("giants", ()))
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
        rows = self._staged(self._source.window_of_traces(held.select(IDS), since, cut), since, cut)
        return _since_first(rows, held)

    def _read_held_repeats(self, held: pa.Table, cut: int) -> pa.Table | None:
        if not held.num_rows:
            return None
        return _since_first(self._source.repeats(int(np.asarray(held.column("first")).min()) - 1, cut), held)


def _with(held: pa.Table | None, new: pa.Table) -> pa.Table:
    return new if held is None else pa.concat_tables([held, new])


def _held_traces(values: list[list[int]]) -> pa.Table:
    kinds = (pa.uint64(), pa.uint64(), pa.int64(), pa.int64())
    columns = [pa.array([row[place] for row in values], kind) for place, kind in enumerate(kinds)]
    return pa.table(columns, names=[*IDS, "first", "known"])


def _since_first(rows: pa.Table, held: pa.Table) -> pa.Table | None:
    """Keep the rows of held traces that arrived no earlier than the first held one: those before were looked at."""
    keys = trace_keys(held)
    order = np.argsort(keys)
    row_keys = trace_keys(rows)
    place = np.minimum(np.searchsorted(keys[order], row_keys), len(keys) - 1)
    held_row = order[place]
    kept = (keys[held_row] == row_keys) & (np.asarray(rows.column("arrival_time_unix_nano")) >= np.asarray(held.column("first"))[held_row])
    return where(rows, kept) if kept.any() else None
