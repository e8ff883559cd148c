"""Messages across passes: publications of before, by their ids and places in logs, and consumptions whose publication has not come yet."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traced.graph.channels import Channels
from traced.graph.columns import Ints, Mask, among, mix
from traced.graph.flows import flows, less, total
from traced.graph.message_entries import EMPTY
from traced.graph.message_rows import REPLAYED_AFTER_NANOS, ROWS
from traced.model.messages import FLOWS, JoinedBy, Role, VersionSource

MAX_PUBLISHED: Final = 50_000
"""Publications that later consumptions are held against: a few seconds' of a busy system, hours' of a quiet one."""
MAX_WAITING: Final = 20_000
"""Rows of traces of which a publication may still come."""
_OF_PUBLISHED: Final = (
    "trace_id_high", "trace_id_low", "span_id", "service_namespace", "service_name", "system", "destination", "cluster", "partition", "offset",
    "message_id", "message_schema_version", "version_key", "time_unix_nano",
)  # fmt: skip
_PUBLISHED: Final = pa.schema(ROWS.field(name) for name in _OF_PUBLISHED)
"""What is remembered of a publication."""
_IDS: Final = ("trace_id_high", "trace_id_low")
_PLACE: Final = (*_IDS, "span_id")


@dataclass(frozen=True, slots=True)
class Settled:
    """What becomes of a pass: its rows as they count, and how the flows change."""

    rows: pa.Table
    flows: pa.Table


class MessageMemory:
    """Remembers the newest; `dropped` counts rows that still waited when a limit made them be forgotten."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._published = _PUBLISHED.empty_table()
        self._waiting = ROWS.empty_table()
        self.channels = Channels()
        self.dropped = 0

    @property
    def empty(self) -> bool:
        """Whether nothing waits, so that a pass without messages changes nothing."""
        return not self._waiting.num_rows

    def wanted(self) -> tuple[Any, Any, Any]:
        """Give the ids (trace high, trace low, span) of the spans that links name and that have not come; 0 for rows that wait for none."""
        high, low, span = (np.asarray(self._waiting.column(f"producer_{name}")) for name in _PLACE)
        return high, low, np.where(self._open_links(), span, 0)

    def _open_links(self) -> Mask:
        span = np.asarray(self._waiting.column("producer_span_id"))
        unjoined: Mask = np.asarray(pc.equal(self._waiting.column("joined_by"), EMPTY)) & np.asarray(self._waiting.column("waits")) & (span != 0)
        return unjoined

    def settle(self, after: pa.Table, before: pa.Table, came: Mapping[int, int], publishers: pa.Table, internal: Mask) -> Settled:
        """Join what a pass saw with what was there before, and the other way round.

        Args:
            after: rows of the traces of the pass.
            before: rows of what an earlier pass saw of those that it saw.
            came: which waiting rows' links lead to which row of `publishers`.
            publishers: rows of spans that publish.
            internal: which waiting rows' links turned out to lead to a span of the same service that took the message itself.
        """
        old = self._as_counted(before)
        renewed = among(_traces(self._waiting), np.unique(np.concatenate([_traces(before), _traces(after)]))) if self._waiting.num_rows else np.zeros(0, bool)
        corrected, stays = self._late_links(came, publishers, internal, renewed)
        self._forget_published(before)
        self._published = pa.concat_tables([self._published, _single_publications(after)])
        self.channels.learn(after)
        rows = self._joined(after)
        changed = self._joined(stays)
        more = _difference(changed, stays)
        self._published = self._published.slice(max(0, self._published.num_rows - MAX_PUBLISHED))
        self._keep(pa.concat_tables([changed, _of_waiting_traces(rows)]))
        return Settled(rows, total(flows(rows), less(flows(old)), corrected, more))

    def _as_counted(self, before: pa.Table) -> pa.Table:
        """Give the rows of traces that are looked at again as they count so far: as they are remembered, else as they were joined then."""
        if not before.num_rows:
            return before
        traces, kept = _traces(before), _traces(self._waiting)
        remembered = among(traces, kept) if len(kept) else np.zeros(len(traces), bool)
        known = self._waiting.filter(pa.array(among(kept, traces))) if len(kept) else self._waiting
        return pa.concat_tables([known, self._joined(before.filter(pa.array(~remembered)))])

    def _late_links(self, came: Mapping[int, int], publishers: pa.Table, internal: Mask, renewed: Mask) -> tuple[pa.Table, pa.Table]:
        """Correct what was counted of links whose target has come since; give how flows change, and what is remembered of traces that are not looked at now."""
        stays = self._waiting.filter(pa.array(~renewed))
        chosen = np.full(self._waiting.num_rows, -1)
        chosen[list(came)] = list(came.values())
        chosen, internal = chosen[~renewed], internal[~renewed]
        if not (chosen >= 0).any() and not internal.any():
            return FLOWS.empty_table(), stays
        after = _with_publication(stays, publishers, chosen, JoinedBy.LINK).filter(pa.array(~internal))
        return _difference(after, stays), after

    def _forget_published(self, before: pa.Table) -> None:
        if before.num_rows and self._published.num_rows:
            self._published = self._published.filter(pa.array(~among(_traces(self._published), _traces(before))))

    def _keep(self, rows: pa.Table) -> None:
        if rows.num_rows > MAX_WAITING:
            gone = rows.slice(0, rows.num_rows - MAX_WAITING)
            # all of a trace or nothing of it: what is counted of it is the difference of the whole
            cut = among(_traces(rows), np.unique(_traces(gone)))
            open_ = np.asarray(rows.column("waits")) & np.asarray(pc.equal(rows.column("joined_by"), EMPTY))
            self.dropped += int(np.count_nonzero(open_ & cut))
            rows = rows.filter(pa.array(~cut))
        self._waiting = rows.combine_chunks()

    # ------------------------------------------------------------------ by message id, and by place in a log

    def _joined(self, rows: pa.Table) -> pa.Table:
        """Join rows without a publication with the only one that has their message id, else their place in a log; undo where another one has it too."""
        waits = np.asarray(rows.column("waits")) if rows.num_rows else np.zeros(0, bool)
        if not waits.any() or not self._published.num_rows:
            return rows
        joined_by = rows.column("joined_by")
        for by, keys in ((JoinedBy.MESSAGE_ID, self._id_keys), (JoinedBy.OFFSET, self._offset_keys)):
            free = waits & np.asarray(pc.or_(pc.equal(joined_by, EMPTY), pc.equal(joined_by, str(by))))
            found, candidates = _only(keys(rows), keys(self._published))
            rows = _with_publication(rows, self._published, np.where(free & (candidates == 1), found, -1), by)
            doubt = free & (candidates > 1) & np.asarray(pc.equal(joined_by, str(by)))
            rows = _without_publication(rows, doubt) if doubt.any() else rows
            joined_by = rows.column("joined_by")
        return rows

    def _id_keys(self, rows: pa.Table) -> pa.Array:
        """Give system, channel and message id as one text; null where there is none."""
        key = pc.binary_join_element_wise(rows.column("system"), self.channels.of(rows), rows.column("message_id"), "\x1f")
        return pc.if_else(pc.equal(rows.column("message_id"), EMPTY), None, key)

    def _offset_keys(self, rows: pa.Table) -> pa.Array:
        """Give cluster, topic, partition and offset as one text; null where one is unknown."""
        offset = pc.cast(rows.column("offset"), pa.string())
        parts = [rows.column(name) for name in ("system", "cluster", "destination", "partition")]
        key = pc.binary_join_element_wise(*parts, offset, "\x1f")
        unknown = pc.or_(pc.equal(rows.column("partition"), EMPTY), pc.equal(rows.column("destination"), EMPTY))
        return pc.if_else(unknown, None, key)

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> dict[str, Any]:
        """Give what is remembered as JSON values."""
        return {"published": _written(self._published), "waiting": _written(self._waiting), "channels": self.channels.dump()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take what `dump` gave before a restart.

        Raises:
            KeyError, ValueError, TypeError: this is no such state; nothing was taken.
        """
        published, waiting = _read(state["published"], _PUBLISHED), _read(state["waiting"], ROWS)
        self.channels.load(state["channels"])
        self._published, self._waiting = published, waiting


def _written(rows: pa.Table) -> str:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as stream:
        stream.write_table(rows)
    return base64.b64encode(sink.getvalue().to_pybytes()).decode("ascii")


def _read(text: str, schema: pa.Schema) -> pa.Table:
    try:
        rows = pa.ipc.open_stream(pa.py_buffer(base64.b64decode(text))).read_all()
    except pa.ArrowException as error:
        raise ValueError(f"remembered messages cannot be read: {error}") from error
    # what another version kept has other columns: then these joins are not made, which is no reason to forget all else
    return rows if rows.schema == schema else schema.empty_table()


def _traces(rows: pa.Table) -> Any:
    return mix(*(np.asarray(rows.column(name)) for name in _IDS))


def _single_publications(rows: pa.Table) -> pa.Table:
    """Give the publications of one message that say its id, or its place in a log."""
    says = pc.or_(pc.not_equal(rows.column("message_id"), EMPTY), pc.is_valid(rows.column("offset")))
    single = pc.and_(pc.equal(rows.column("role"), str(Role.PRODUCER)), pc.equal(rows.column("messages"), 1))
    return rows.filter(pc.and_(single, says)).select(_PUBLISHED.names)


def _of_waiting_traces(rows: pa.Table) -> pa.Table:
    """Give all rows of the traces of which a row waits."""
    waits = np.asarray(rows.column("waits")) if rows.num_rows else np.zeros(0, bool)
    if not waits.any():
        return rows.slice(0, 0)
    traces = _traces(rows)
    return rows.filter(pa.array(among(traces, np.unique(traces[waits]))))


def _difference(after: pa.Table, before: pa.Table) -> pa.Table:
    """Give how flows change, of the traces in which something does."""
    if after.num_rows == before.num_rows and after.column("producer_span_id").equals(before.column("producer_span_id")):
        same = after.column("joined_by").equals(before.column("joined_by"))
        if same:
            return FLOWS.empty_table()
    return total(flows(after), less(flows(before)))


def _only(wanted: Any, known: Any) -> tuple[Ints, Ints]:
    """Give, for each wanted key, the place of the last known one that equals it, and how many do; a null key equals none."""
    wanted, known = (keys.combine_chunks() if isinstance(keys, pa.ChunkedArray) else keys for keys in (wanted, known))
    both = pa.concat_arrays([*_chunks(known), *_chunks(wanted)]).dictionary_encode()
    codes = np.asarray(pc.fill_null(both.indices, -1)).astype(np.int64)
    of_known, of_wanted = codes[: len(known)], codes[len(known) :]
    size = len(both.dictionary) + 1  # the last stands for null
    place = np.full(size, -1)
    place[of_known] = np.arange(len(of_known))
    times = np.bincount(np.where(of_known < 0, size - 1, of_known), minlength=size)
    place[-1], times[-1] = -1, 0
    return place[of_wanted], times[of_wanted]


def _chunks(array: Any) -> list[pa.Array]:
    return list(array.chunks) if isinstance(array, pa.ChunkedArray) else [array]


def _with_publication(rows: pa.Table, published: pa.Table, chosen: Ints, by: JoinedBy) -> pa.Table:
    """Give rows with what a publication says: of each row the chosen one, -1 for none."""
    if not (chosen >= 0).any():
        return rows
    joined = pa.array(chosen >= 0)
    source = published.take(pa.array(chosen, mask=chosen < 0))
    told = pc.and_(joined, pc.and_(pc.equal(rows.column("message_schema_version"), EMPTY), pc.equal(rows.column("version_key"), EMPTY)))
    told = pc.and_(told, pc.and_(pc.invert(rows.column("tombstone")), pc.not_equal(pc.fill_null(source.column("message_schema_version"), EMPTY), EMPTY)))
    delay = pc.subtract(rows.column("time_unix_nano"), source.column("time_unix_nano"))
    changes = {
        "producer_namespace": source.column("service_namespace"),
        "producer_name": source.column("service_name"),
        "producer_destination": source.column("destination"),
        "joined_by": pa.repeat(pa.scalar(str(by)), rows.num_rows),
        "delay_nano": delay,
        "replayed": pc.or_(rows.column("replayed"), pc.fill_null(pc.greater(delay, REPLAYED_AFTER_NANOS), False)),
        **{f"producer_{name}": source.column(name) for name in _PLACE},
    }
    for name, values in changes.items():
        rows = _set(rows, name, pc.if_else(joined, values, rows.column(name)))
    versions = {
        "message_schema_version": source.column("message_schema_version"),
        "version_source": pa.repeat(pa.scalar(str(VersionSource.INHERITED)), rows.num_rows),
        "version_key": source.column("version_key"),
    }
    for name, values in versions.items():
        rows = _set(rows, name, pc.if_else(told, values, rows.column(name)))
    return rows


def _without_publication(rows: pa.Table, undone: Mask) -> pa.Table:
    """Give rows of which some are joined no more."""
    mask = pa.array(undone)
    inherited = pc.and_(mask, pc.equal(rows.column("version_source"), str(VersionSource.INHERITED)))
    for name in ("message_schema_version", "version_source", "version_key"):
        rows = _set(rows, name, pc.if_else(inherited, EMPTY, rows.column(name)))
    for name in ("producer_namespace", "producer_name", "producer_destination", "joined_by"):
        rows = _set(rows, name, pc.if_else(mask, EMPTY, rows.column(name)))
    for name in _PLACE:
        rows = _set(rows, f"producer_{name}", pc.if_else(mask, pa.scalar(0, pa.uint64()), rows.column(f"producer_{name}")))
    return _set(rows, "delay_nano", pc.if_else(mask, pa.scalar(None, pa.int64()), rows.column("delay_nano")))


def _set(rows: pa.Table, name: str, values: Any) -> pa.Table:
    place = rows.schema.get_field_index(name)
    return rows.set_column(place, rows.schema.field(place), values.cast(rows.schema.field(place).type))
