"""From the bytes of an export request to a Batch of columns, without a Python object per span.

Three steps, each measured (ARCHITECTURE.md, decision 3): the envelope, with every span left as raw bytes; the spans, with
every attribute left as raw bytes; the distinct attributes. In between, child arrays of lists *are* the flat columns, and
the resource of a span is a repeat by the list lengths.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from traced.errors import InvalidRequestError, TooLargeError
from traced.model.batch import Batch, Fingerprint, Signal
from traced.model.schema import COMPACT_EVENT, COMPACT_LINK, COMPACT_LOGS, COMPACT_SPANS, LOG_CORE, SPAN_CORE
from traced.receiver.ids import id_of_8, ids_of_16
from traced.receiver.origins import Origins
from traced.receiver.parsing import Parsed, flat, parse, parse_request
from traced.receiver.text import clean_text
from traced.receiver.values import Values
from traced.receiver.walking import Envelope, Walker
from traced.receiver.wire import Limits

MAX_ATTRIBUTES: Final = 2_000_000
"""Attributes in one request, everywhere together: 40 for each of the most spans allowed, and about a second's work."""
_SECOND: Final = 1_000_000_000
COPIED_FROM_BYTES: Final = 2**20
"""From this size of a request on, its batch holds nothing but its own columns while it waits to be written."""

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Columns = dict[str, Any]


def decode_traces(body: bytes, limits: Limits) -> Batch:
    """Decode an ExportTraceServiceRequest.

    Raises:
        InvalidRequestError: the bytes are no such message.
        TooLargeError: more spans or envelopes than the limits allow.
    """
    return _Decoder(body, limits, "span").batch(Signal.TRACES, "Span", _spans)


def decode_logs(body: bytes, limits: Limits) -> Batch:
    """Decode an ExportLogsServiceRequest; raises as `decode_traces`."""
    batch = _Decoder(body, limits, "log record").batch(Signal.LOGS, "LogRecord", _log_records)
    return replace(batch, fingerprint=_fingerprint(body)) if _is_one_of_a_kind(batch.items) else batch


def _fingerprint(body: bytes) -> Fingerprint:
    """Hash a request to 128 bits, the same on every start."""
    digest = hashlib.blake2b(body, digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def _is_one_of_a_kind(records: pa.RecordBatch) -> bool:
    """Say whether a request of the same bytes must be the same one: some record has a time that is finer than a second.

    Without a time, or by a clock that counts seconds, the same may well be said twice.
    """
    return any(np.any(np.asarray(records.column(name)) % _SECOND) for name in ("time_unix_nano", "observed_time_unix_nano"))


class _Decoder:
    """One request on its way to a batch."""

    def __init__(self, body: bytes, limits: Limits, noun: str) -> None:
        self.size = len(body)
        self.limits = limits
        self.rejected: Counter[str] = Counter()
        self.altered: Counter[str] = Counter()
        self.walker = Walker(body)
        self.values = Values(limits, self.altered, self.walker)
        self._check(Envelope(body, limits.max_items), noun)
        try:
            resource_lists = parse_request(body).column(0)
        except ValueError as error:
            raise _no_request(str(error)) from None
        resource_items = resource_lists.flatten()
        self.resources_raw, scope_lists, self.resource_urls = resource_items.flatten()
        scope_items = scope_lists.flatten()
        self.scopes_raw, item_lists, self.scope_urls = scope_items.flatten()
        self.items_raw = item_lists.flatten()
        self.scope_of_item = _repeat(item_lists)
        self.resource_of_item = _repeat(scope_lists)[self.scope_of_item]

    def _check(self, envelope: Envelope, noun: str) -> None:
        limit = self.limits.max_items
        if envelope.over:
            what = f"{noun}s" if envelope.items > limit else "resource and scope envelopes"
            raise TooLargeError(
                f"the request holds more than {limit} {what}",
                next_safe_actions=("Send smaller batches (OTEL_BSP_MAX_EXPORT_BATCH_SIZE, or the Collector's batch processor's send_batch_max_size).",),
                error_code="too_many_items",
            )
        if envelope.problem:
            raise _no_request(envelope.problem)

    def batch(self, signal: Signal, message: str, columns: Callable[..., Columns]) -> Batch:
        """Parse the items, drop the invalid ones, and give each distinct attribute a number."""
        parsed = parse(message, self.items_raw, self.limits.max_list, self.walker)
        del self.items_raw
        attributes = _AttributeNumbers(self.values)
        items = columns(self, parsed, attributes)
        del parsed
        resources = Origins("Resource", self.resources_raw, self.resource_urls, self.limits, self.altered, self.walker)
        scopes = Origins("Scope", self.scopes_raw, self.scope_urls, self.limits, self.altered, self.walker)
        resource_lists = attributes.add(resources.attributes, resources.occurrences)
        scope_lists = attributes.add(scopes.attributes, scopes.occurrences)
        dictionary = attributes.finish()
        items = {name: value() if callable(value) else value for name, value in items.items()}
        items["resource_id"] = pa.array(resources.ids[self.resource_of_item], pa.uint32())
        items["scope_id"] = pa.array(scopes.ids[self.scope_of_item], pa.uint32())
        schema = COMPACT_SPANS if signal is Signal.TRACES else COMPACT_LOGS
        rows = pa.RecordBatch.from_arrays([items[f.name] for f in schema], schema=schema)
        return Batch(
            signal=signal,
            items=self._own(rows),
            attributes=self._own(dictionary),
            resources=resources.resources(resource_lists(), dictionary),
            scopes=self._own(scopes.scopes(scope_lists())),
            size_bytes=self.size,
            rejected=dict(self.rejected),
            altered=dict(self.altered),
        )

    def _own(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Copy the columns of a large request: one that ptars made keeps all that it made with it, down to the raw attributes."""
        if self.size < COPIED_FROM_BYTES:
            return rows
        return pa.RecordBatch.from_arrays([pa.concat_arrays([column]) for column in rows.columns], schema=rows.schema)

    def valid(self, parsed: Parsed, checks: dict[str, Mask]) -> Mask:
        """Count the items that are broken or fail a check, under the first thing that is wrong; give those that are valid."""
        broken = parsed.broken
        valid = np.ones(parsed.rows.num_rows, dtype=bool) if broken is None else ~broken
        if broken is not None:
            self.rejected["malformed"] += int(broken.sum())
        for reason, passed in checks.items():
            lost = int((valid & ~passed).sum())
            if lost:
                self.rejected[reason] += lost
                valid &= passed
        return valid

    def keep(self, parsed: Parsed, valid: Mask) -> Parsed:
        """Go on with the valid items only: what is not stored is not counted as altered either."""
        if valid.all():
            return parsed
        self.scope_of_item = self.scope_of_item[valid]
        self.resource_of_item = self.resource_of_item[valid]
        return parsed.keep(valid)

    def text(self, raw: pa.Array, reason: str) -> pa.Array:
        """Clean a text column through its distinct values."""
        encoded = raw.dictionary_encode()

        @cache
        def occurrences() -> Ints:
            return np.bincount(np.asarray(encoded.indices), minlength=len(encoded.dictionary)).astype(np.int64)

        return pc.take(clean_text(encoded.dictionary, self.limits.max_value_bytes, self.altered, reason, occurrences), encoded.indices)

    def times(self, raw: pa.Array, reason: str) -> pa.Array:
        """Clamp unsigned nanoseconds to what a signed column holds."""
        values = np.asarray(raw)
        if len(values) and values.max() > np.uint64(2**63 - 1):
            self.altered[reason] += int((values > np.uint64(2**63 - 1)).sum())
            values = np.minimum(values, np.uint64(2**63 - 1))
        return pa.array(values.astype(np.int64))

    def dropped(self, parsed: Parsed, name: str) -> pa.Array:
        """Give how many of a list's elements were dropped: as the sender says, and beyond our limit; the latter is counted."""
        counts = parsed.rows.column(f"dropped_{name}_count")
        excess = parsed.excess.get(name)
        if excess is None or not excess.any():
            return counts
        self.altered[f"{name}_cut"] += int(excess.sum())
        return pa.array(np.minimum(np.asarray(counts).astype(np.int64) + excess, 2**32 - 1).astype(np.uint32))

    def parts(self, message: str, raw: pa.Array) -> Parsed:
        """Parse events or links; a broken one is kept as an empty one, so that positions stay, and counted."""
        parsed = parse(message, raw, self.limits.max_list, self.walker)
        if parsed.broken is not None:
            self.altered[f"malformed_{message.lower()}"] += int(parsed.broken.sum())
        return parsed


class _AttributeNumbers:
    """Collects raw attributes from everywhere in a request and numbers the distinct ones."""

    def __init__(self, values: Values) -> None:
        self.values = values
        self.raw: list[pa.Array] = []
        self.occurrences: list[Ints | None] = []
        self.ids: list[pa.Array] = []

    def add(self, lists: tuple[npt.NDArray[np.int32], pa.Array], occurrences: Ints | None = None) -> Callable[[], pa.ListArray]:
        """Take (offsets, raw values) of n lists, and how often each list stands in the request if not once.

        The result gives the lists of numbers once `finish` has run.
        """
        offsets, raw = lists
        place = len(self.raw)
        self.raw.append(raw)
        self.occurrences.append(None if occurrences is None else np.repeat(occurrences, np.diff(offsets)))
        return lambda: pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), self.ids[place])

    def finish(self) -> pa.RecordBatch:
        """Number all that was added; give the dictionary.

        Raises:
            TooLargeError: it is too much.
        """
        lengths = [len(raw) for raw in self.raw]
        if sum(lengths) > MAX_ATTRIBUTES:
            raise TooLargeError(
                f"the request holds more than {MAX_ATTRIBUTES} attributes",
                next_safe_actions=("Send smaller batches, or spans with fewer attributes.",),
                error_code="too_many_items",
            )
        # in all this may be as large as the request, so each form of it goes as soon as the next is there
        together = pa.concat_arrays(self.raw)
        self.raw.clear()
        encoded = together.dictionary_encode()
        del together
        indices, start = encoded.indices.cast(pa.uint32()), 0
        for length in lengths:
            self.ids.append(indices.slice(start, length))
            start += length

        @cache
        def occurrences() -> Ints:
            weights = [np.ones(len(ids)) if often is None else often for ids, often in zip(self.ids, self.occurrences, strict=True)]
            return np.bincount(np.asarray(indices), np.concatenate(weights), len(encoded.dictionary)).astype(np.int64)

        return self.values.attributes(encoded.dictionary, occurrences)


def _spans(decoder: _Decoder, parsed: Parsed, attributes: _AttributeNumbers) -> Columns:
    """Give the columns of COMPACT_SPANS for the valid spans, some as functions to call after numbering."""
    column = parsed.rows.column
    high, low, trace_id = ids_of_16(column("trace_id"))
    span_id, own = id_of_8(column("span_id"))
    parent, parents = id_of_8(column("parent_span_id"), may_be_absent=True)
    valid = decoder.valid(parsed, {"invalid_trace_id": trace_id, "invalid_span_id": own, "invalid_parent_span_id": parents})
    ids = {"trace_id_high": high, "trace_id_low": low, "span_id": span_id, "parent_span_id": parent}
    if not valid.all():
        ids = {name: one.filter(pa.array(valid)) for name, one in ids.items()}
        parsed = decoder.keep(parsed, valid)
        column = parsed.rows.column
    status_message, status_code = column("status").flatten()
    columns: Columns = {
        **ids,
        "trace_state": decoder.text(column("trace_state"), "trace_state"),
        "flags": column("flags"),
        "name": decoder.text(column("name"), "name"),
        "kind": _small(column("kind")),
        "start_time_unix_nano": decoder.times(column("start_time_unix_nano"), "time_clamped"),
        "end_time_unix_nano": decoder.times(column("end_time_unix_nano"), "time_clamped"),
        "status_code": _small(pc.fill_null(status_code, 0)),
        "status_message": decoder.text(pc.fill_null(status_message, b""), "status_message"),
        "dropped_attributes_count": decoder.dropped(parsed, "attributes"),
        "dropped_events_count": decoder.dropped(parsed, "events"),
        "dropped_links_count": decoder.dropped(parsed, "links"),
        "attribute_ids": attributes.add(flat(column("attributes"))),
        "events": _events(decoder, column("events"), attributes),
        "links": _links(decoder, column("links"), attributes),
    }
    return _typed(columns, SPAN_CORE)


def _events(decoder: _Decoder, lists: pa.ListArray, attributes: _AttributeNumbers) -> Any:
    offsets, raw = flat(lists)
    if len(raw) == 0:
        return pa.nulls(len(lists), pa.list_(COMPACT_EVENT))
    parsed = decoder.parts("Event", raw)
    column = parsed.rows.column
    ids = attributes.add(flat(column("attributes")))
    times = decoder.times(column("time_unix_nano"), "time_clamped")
    names = decoder.text(column("name"), "name")
    dropped = decoder.dropped(parsed, "attributes")

    def finish() -> pa.ListArray:
        structs = pa.StructArray.from_arrays([times, names, ids(), dropped], fields=list(COMPACT_EVENT))
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), structs)

    return finish


def _links(decoder: _Decoder, lists: pa.ListArray, attributes: _AttributeNumbers) -> Any:
    offsets, raw = flat(lists)
    if len(raw) == 0:
        return pa.nulls(len(lists), pa.list_(COMPACT_LINK))
    parsed = decoder.parts("Link", raw)
    column = parsed.rows.column
    ids = attributes.add(flat(column("attributes")))
    # a link's invalid ids become 0: it then points nowhere, which is not the span's fault
    high, low, _ = ids_of_16(column("trace_id"))
    span_id, _ = id_of_8(column("span_id"))
    state = decoder.text(column("trace_state"), "trace_state")
    dropped = decoder.dropped(parsed, "attributes")

    def finish() -> pa.ListArray:
        structs = pa.StructArray.from_arrays([high, low, span_id, state, column("flags"), ids(), dropped], fields=list(COMPACT_LINK))
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), structs)

    return finish


def _log_records(decoder: _Decoder, parsed: Parsed, attributes: _AttributeNumbers) -> Columns:
    """Give the columns of COMPACT_LOGS; a wrong trace id makes no log record invalid, it only leaves it unassociated."""
    parsed = decoder.keep(parsed, decoder.valid(parsed, {}))
    column = parsed.rows.column
    high, low, sound = ids_of_16(column("trace_id"))
    span_id, sound_span = id_of_8(column("span_id"))
    associated = sound & sound_span
    body_type, body = decoder.values.bodies(column("body"))
    columns: Columns = {
        "time_unix_nano": decoder.times(column("time_unix_nano"), "time_clamped"),
        "observed_time_unix_nano": decoder.times(column("observed_time_unix_nano"), "time_clamped"),
        "severity_number": _small(column("severity_number")),
        "severity_text": decoder.text(column("severity_text"), "severity_text"),
        "event_name": decoder.text(column("event_name"), "name"),
        "body_type": body_type,
        "body": body,
        "trace_id_high": high,
        "trace_id_low": low,
        "span_id": pa.array(np.where(associated, np.asarray(span_id), np.uint64(0))),
        # the low byte only: the other bits of a log's flags are reserved
        "flags": pc.bit_wise_and(column("flags"), pa.scalar(0xFF, pa.uint32())),
        "dropped_attributes_count": decoder.dropped(parsed, "attributes"),
        "attribute_ids": attributes.add(flat(column("attributes"))),
    }
    return _typed(columns, LOG_CORE)


def _no_request(problem: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"the body is not an OTLP export request: {problem}",
        next_safe_actions=("Send the body as an exporter encodes it; check that Content-Type and Content-Encoding match it.",),
    )


def _repeat(lists: pa.ListArray) -> Ints:
    """Give, for each flattened element, the row of its list."""
    lengths = np.diff(np.asarray(lists.offsets))
    return np.repeat(np.arange(len(lists)), lengths)


def _small(numbers: pa.Array) -> pa.Array:
    """Keep an enum's number in one byte; numbers outside it (no proto has any) become 255."""
    values = np.asarray(numbers)
    return pa.array(np.where((values < 0) | (values > 255), 255, values).astype(np.uint8))


def _typed(columns: Columns, core: list[tuple[str, pa.DataType]]) -> Columns:
    """Cast core columns to their declared types."""
    for name, kind in core:
        if columns[name].type != kind:
            columns[name] = columns[name].cast(kind)
    return columns
