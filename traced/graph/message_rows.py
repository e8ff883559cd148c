"""Publications and consumptions as rows of MESSAGES."""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traced.graph.columns import Ints, Mask, Unsigned, climb, combined, numbers
from traced.graph.consumptions import Consumptions
from traced.graph.message_entries import EMPTY
from traced.graph.message_facts import RECEIVE, Facts
from traced.graph.message_spans import MessageSpans, Publications
from traced.graph.relation import Relation
from traced.graph.weights import probabilities
from traced.model.messages import MESSAGES, JoinedBy, Role, VersionSource
from traced.model.span import UNKNOWN_SERVICE

REPLAYED_AFTER_NANOS: Final = 7 * 86_400 * 10**9
"""What is taken so long after it was published is a replay: Kafka keeps a week by default, and a consumer that runs once a week leaves nothing older."""
KEYS: Final = pa.schema([("row", pa.int64()), ("cluster", pa.string()), ("received", pa.bool_()), ("waits", pa.bool_())])
"""Columns beside those of MESSAGES. `row`: of the span in its forest; `cluster`: of its broker; `received`: by a span that does not process it; `waits`: its
publication is not known, and may come."""
ROWS: Final = pa.schema([*MESSAGES, *KEYS])


@dataclass(frozen=True, slots=True)
class _Speakers:
    """For each span the number of the one that says a fact of its message: itself, or one of the same message."""

    system: Ints
    destination: Ints
    group: Ints
    version: Ints


class RowBuilder:
    """Makes rows of what one pass found."""

    def __init__(self, made: Relation, spans: MessageSpans, published: Publications, taken: Consumptions) -> None:
        """Gather what is known of each span, here or elsewhere, by its number."""
        self._forest, self._links, self._spans, self._facts = made.forest, made.links, spans, spans.facts
        self._published, self._taken = published, taken
        count, rows = spans.count, spans.rows
        self._speakers = self._find_speakers()
        outside = self._links.take(pa.array(spans.parts.outside))
        between = len(spans.parts.links)
        name = pa.array(["" if text == UNKNOWN_SERVICE else text for text in made.forest.service.texts], pa.string())
        space = pa.array(made.forest.namespaces, pa.string())
        self._name = _joined(name.take(pa.array(spans.service)), between, outside.column("service_name"))
        self._space = _joined(space.take(pa.array(spans.service)), between, outside.column("service_namespace"))
        self._ids = [
            np.concatenate([numbers(made.forest.spans, column)[rows], np.zeros(between, np.uint64), np.asarray(outside.column(column))])
            for column in ("trace_id_high", "trace_id_low", "span_id")
        ]
        self._end = np.concatenate([made.forest.end[rows], np.full(between, -1), np.asarray(outside.column("end_time_unix_nano"))])
        states = made.forest.spans.select(["trace_state", "trace_id_low"]).take(pa.array(rows))
        self._probability = probabilities(states.column("trace_state"), np.asarray(states.column("trace_id_low")))
        self._failed = spans.failed.copy()
        main, member = published.members
        np.logical_or.at(self._failed, main, spans.failed[member])
        self._replayed = self._moved_back(count)

    def _find_speakers(self) -> _Speakers:
        facts, count = self._facts, self._spans.count
        own = np.arange(len(facts.operation))
        versioned = facts.known("version") | facts.known("version_key")
        known = {"system": facts.known("system"), "destination": facts.known("destination"), "group": facts.known("consumer_group"), "version": versioned}
        main, member = self._published.members
        # the earliest that knows it, whatever the order of arrival
        order = np.lexsort((self._spans.forest.span_id[self._spans.rows[member]], self._spans.start[member]))[::-1]
        within, consumes = self._taken.within, self._spans.consumes
        speakers = {}
        for fact, has in known.items():
            speaker = own.copy()
            told = order[has[member[order]]]
            lacks = ~has[main[told]]
            speaker[main[told[lacks]]] = member[told[lacks]]
            if fact != "version":
                of = has[:count]
                outer = climb(np.arange(count), within, ~of & (within >= 0) & consumes)
                speaker[:count] = np.where(consumes & ~of, outer, speaker[:count])
            speakers[fact] = speaker
        return _Speakers(**speakers)

    def _moved_back(self, count: int) -> Mask:
        """Mark the publications that move a message out of a place for dead letters, or for retries."""
        dead = self._facts.marks("dead_letter")[self._speakers.destination][:count]
        up = self._spans.above
        back: Mask = self._spans.publishes & (up >= 0) & ~dead
        back[back] = self._spans.consumes[up[back]] & dead[up[back]]
        return back

    # ------------------------------------------------------------------ rows

    def published(self, number: Ints | None = None) -> pa.Table:
        """Give a row for each publication, or for each of some spans that publish."""
        messages = self._published.messages if number is None else np.ones(len(number), np.int64)
        number = self._published.numbers if number is None else number
        none = np.full(len(number), -1)
        row = self._spans.rows[number]
        speaks = self._speakers.destination[number]
        columns: dict[str, Any] = self._of_spans(number, Role.PRODUCER) | self._of_message(number, none) | self._version(number, none)
        columns |= {
            "consumer_group": _repeated("", len(number)),
            "producer_namespace": self._space.take(pa.array(number)),
            "producer_name": self._name.take(pa.array(number)),
            "producer_destination": self._facts.texts("destination", speaks),
            "joined_by": _repeated("", len(number)),
            "disposition": _repeated("", len(number)),
            "replayed": self._replayed[number],
            "link_position": np.zeros(len(number), np.int32),
            "messages": messages,
            "at_least": np.zeros(len(number), bool),
            "time_unix_nano": self._forest.end[row],
            "delay_nano": pa.nulls(len(number), pa.int64()),
            "received": np.zeros(len(number), bool),
            "waits": np.zeros(len(number), bool),
        }
        columns |= {f"producer_{name}": ids[number] for name, ids in zip(("trace_id_high", "trace_id_low", "span_id"), self._ids, strict=True)}
        return table(columns | self._identity(columns, np.ones(len(number), bool)))

    def taken(self) -> pa.Table:
        """Give a row for each consumption."""
        taken, facts = self._taken, self._facts
        number, producer = taken.numbers, taken.producers
        link = np.where(taken.links >= 0, self._spans.parts.first_link + taken.links, -1)
        columns: dict[str, Any] = self._of_spans(number, Role.CONSUMER) | self._of_message(number, link)
        columns |= self._version(number, link)
        columns["disposition"] = facts.texts("disposition", number)
        columns["consumer_group"] = facts.texts("consumer_group", self._speakers.group[number])
        said = np.where(producer >= 0, self._published_by(producer), -1)
        columns |= self._inherited(columns, said)
        start = self._spans.start[number]
        delay = np.where(producer >= 0, start - self._end[producer], 0)
        queued, waited = facts.integers("queued")
        columns |= {
            "producer_namespace": _filled(self._space.take(pa.array(producer, mask=producer < 0))),
            "producer_name": _filled(self._name.take(pa.array(producer, mask=producer < 0))),
            "producer_destination": facts.texts("destination", np.where(said >= 0, self._speakers.destination[said], -1)),
            "joined_by": pa.array(["", str(JoinedBy.LINK), str(JoinedBy.PARENT)]).take(pa.array(taken.joined_by)),
            "replayed": ((producer >= 0) & (delay > REPLAYED_AFTER_NANOS)) | (waited & (queued * 10**6 > REPLAYED_AFTER_NANOS))[number],
            "link_position": self._positions(taken.links),
            "messages": taken.messages,
            "at_least": taken.at_least,
            "time_unix_nano": start,
            "delay_nano": pa.array(delay, mask=(producer < 0) | (self._end[producer] < 0)),
            "received": self._spans.operation[number] == RECEIVE,
            "waits": (producer < 0) & (taken.messages == 1),
        }
        columns |= self._producer_ids(taken)
        return table(columns | self._identity(columns, self._alone(taken)))

    def of_calls(self, answers: Ints, callers: Ints, role: Role, *, answered: bool = True) -> pa.Table:
        """Give a row for each call, of one side; a caller is -1 where nobody is known, and stands for who answers where nobody did."""
        known = callers >= 0
        side = np.where(known, callers, answers) if role is Role.CONSUMER else answers
        count, none = len(answers), np.full(len(answers), -1)
        columns: dict[str, Any] = self._of_spans(side, role) | self._of_message(answers, none) | self._version(answers, callers)
        if role is Role.CONSUMER:
            for name in ("environment", "service_namespace", "service_name", "service_version", "service_instance_id"):
                columns[name] = pc.if_else(pa.array(known), columns[name], EMPTY)
        empty = _repeated("", count)
        service = self._name.take(pa.array(answers)) if answered else empty
        rule = np.asarray(self._spans.parts.table.column("call_rule").slice(0, self._spans.count).take(pa.array(answers)))
        columns |= {
            "row": self._spans.rows[answers],
            "system": pa.array(self._spans.parts.systems, pa.string()).take(pa.array(rule)),
            "destination": service,
            "dead_letter": np.zeros(count, bool),
            "consumer_group": empty,
            "producer_namespace": self._space.take(pa.array(answers)) if answered else empty,
            "producer_name": service,
            "producer_destination": self._spans.parts.routes.take(pa.array(answers)),
            "joined_by": pc.if_else(pa.array(known & answered), str(JoinedBy.PARENT), EMPTY) if role is Role.CONSUMER else empty,
            "disposition": self._facts.texts("disposition", callers) if role is Role.CONSUMER else empty,
            "error": self._failed[answers] | (known & self._failed[np.where(known, callers, 0)]),
            "replayed": np.zeros(count, bool),
            "link_position": np.zeros(count, np.int32),
            "messages": np.ones(count, np.int64),
            "at_least": np.zeros(count, bool),
            "time_unix_nano": self._spans.start[answers],
            "delay_nano": pa.nulls(count, pa.int64()),
            "received": np.zeros(count, bool),
            "waits": np.zeros(count, bool),
        }
        names = ("trace_id_high", "trace_id_low", "span_id")
        columns |= {f"producer_{name}": ids[answers] * np.uint64(answered) for name, ids in zip(names, self._ids, strict=True)}
        return table(columns | self._identity(columns, np.zeros(count, bool)))

    def _published_by(self, producer: Ints) -> Ints:
        """Give the span that speaks for a publication: of those here the one that stands for it."""
        here = producer < self._spans.count
        said = producer.copy()
        said[here] = self._published.main[producer[here]]
        return said

    def _of_spans(self, number: Ints, role: Role) -> dict[str, Any]:
        forest, row = self._forest, self._spans.rows[number]
        spans = forest.spans.select(
            ["deployment_environment_name", "service_version", "service_instance_id", "name", "arrival_time_unix_nano", "trace_id_high", "trace_id_low"]
        ).take(pa.array(row))
        return {
            "role": _repeated(str(role), len(row)),
            "environment": _filled(spans.column("deployment_environment_name")),
            "service_namespace": self._space.take(pa.array(number)),
            "service_name": self._name.take(pa.array(number)),
            "probability": pa.array(self._probability[number], mask=np.isnan(self._probability[number])),
            "error": self._failed[number],
            "row": row,
            "span_id": forest.span_id[row],
            "service_version": _filled(spans.column("service_version")),
            "service_instance_id": _filled(spans.column("service_instance_id")),
            **{name: spans.column(name) for name in ("name", "arrival_time_unix_nano", "trace_id_high", "trace_id_low")},
        }

    def _of_message(self, number: Ints, link: Ints) -> dict[str, Any]:
        """Give what tells one message from others; a batch's links say it of each."""
        facts, speakers = self._facts, self._speakers
        destination = _first_known(facts, "destination", link, speakers.destination[number])
        offset, known = facts.integers("offset")
        by_offset = np.where((link >= 0) & known[link], link, number)
        attempt, attempted = facts.integers("attempt")
        by_attempt = np.where((link >= 0) & attempted[link], link, number)
        tombstone = facts.marks("tombstone")
        return {
            "system": facts.texts("system", speakers.system[number]),
            "destination": facts.texts("destination", destination),
            "dead_letter": facts.marks("dead_letter")[destination],
            "message_id": facts.texts("message_id", _first_known(facts, "message_id", link, number)),
            "partition": facts.texts("partition", _first_known(facts, "partition", link, number)),
            "offset": pa.array(offset[by_offset], mask=~known[by_offset]),
            "delivery_attempt": pa.array(attempt[by_attempt].astype(np.int32), mask=~attempted[by_attempt]),
            "tombstone": tombstone[number] | ((link >= 0) & tombstone[link]),
            "cluster": facts.texts("cluster", number),
            "business_key": facts.texts("business_key", _first_known(facts, "business_key", link, number)),
            "cloudevents_id": facts.texts("cloudevents_id", _first_known(facts, "cloudevents_id", link, number)),
            "cloudevents_source": facts.texts("cloudevents_source", _first_known(facts, "cloudevents_source", link, number)),
        }

    def _version(self, number: Ints, link: Ints) -> dict[str, Any]:
        """Give the version that a span and its link show; where they disagree it is unknown, and both are named."""
        facts, said = self._facts, self._speakers.version[number]
        of_link = facts.texts("version", link)
        of_span = facts.texts("version", said)
        asked = pc.not_equal(of_link, EMPTY)
        differ = pc.and_(pc.and_(asked, pc.not_equal(of_span, EMPTY)), pc.not_equal(of_link, of_span))
        names = {name: (facts.texts(name, link), facts.texts(name, said)) for name in ("version_source", "version_key")}
        both = pc.binary_join_element_wise(
            pc.binary_join_element_wise(names["version_key"][0], of_link, "="), pc.binary_join_element_wise(names["version_key"][1], of_span, "="), ", "
        )
        return {
            "message_schema_version": pc.if_else(differ, EMPTY, pc.if_else(asked, of_link, of_span)),
            "version_source": pc.if_else(differ, EMPTY, pc.if_else(asked, *names["version_source"])),
            "version_key": pc.if_else(differ, both, pc.if_else(asked, *names["version_key"])),
        }

    def _inherited(self, columns: dict[str, Any], said: Ints) -> dict[str, Any]:
        """Take the publication's version where the consumer shows none."""
        facts = self._facts
        by = np.where(said >= 0, self._speakers.version[said], -1)
        none = pc.and_(pc.equal(columns["version_key"], EMPTY), pc.equal(columns["message_schema_version"], EMPTY))
        none = pc.and_(none, pc.and_(pc.invert(pa.array(columns["tombstone"])), pc.not_equal(facts.texts("version", by), EMPTY)))
        return {
            "message_schema_version": pc.if_else(none, facts.texts("version", by), columns["message_schema_version"]),
            "version_source": pc.if_else(none, str(VersionSource.INHERITED), columns["version_source"]),
            "version_key": pc.if_else(none, facts.texts("version_key", by), columns["version_key"]),
        }

    def _positions(self, links: Ints) -> Any:
        position = np.asarray(self._links.column("position"))[self._spans.parts.links] if len(self._spans.parts.links) else np.zeros(0, np.int64)
        found = np.zeros(len(links), np.int32)
        found[links >= 0] = position[links[links >= 0]]
        return found

    def _producer_ids(self, taken: Consumptions) -> dict[str, Unsigned]:
        """Name the span that published: also one that did not come, where a link names it."""
        result = {}
        at = self._spans.parts.links[taken.links[taken.links >= 0]] if len(self._spans.parts.links) else np.zeros(0, np.int64)
        for name, ids in zip(("trace_id_high", "trace_id_low", "span_id"), self._ids, strict=True):
            found = np.zeros(len(taken.numbers), np.uint64)
            found[taken.links >= 0] = np.asarray(self._links.column(name))[at]
            found[taken.producers >= 0] = ids[taken.producers[taken.producers >= 0]]
            result[f"producer_{name}"] = found
        return result

    def _alone(self, taken: Consumptions) -> Mask:
        """Mark the rows whose producer's span is of one message only, as far as is known."""
        batch, _ = self._facts.integers("batch")
        whole = (taken.producers >= 0) & (batch[taken.producers] > 1)
        pair, _ = combined(taken.numbers, taken.producers + 1)
        shared = (taken.producers >= 0) & (np.bincount(pair, minlength=1)[pair] > 1)
        alone: Mask = ~whole & ~shared & (taken.messages == 1)
        return alone

    def _identity(self, columns: dict[str, Any], alone: Mask) -> dict[str, Any]:
        """Say which message it is, by the first of what tells messages apart."""
        offset = pc.cast(columns["offset"], pa.string())
        place = pc.binary_join_element_wise(columns["cluster"], columns["destination"], columns["partition"], offset, "/")
        source = pc.binary_join_element_wise(columns["cloudevents_source"], columns["cloudevents_id"], "/")
        span = _hex([columns[f"producer_{name}"] for name in ("trace_id_high", "trace_id_low", "span_id")], alone & (columns["producer_span_id"] != 0))
        has_place = pc.and_(pc.is_valid(offset), pc.not_equal(columns["partition"], EMPTY))
        choices = [
            ("business_key", pc.not_equal(columns["business_key"], EMPTY), columns["business_key"]),
            ("cloudevents", pc.not_equal(columns["cloudevents_id"], EMPTY), source),
            ("offset", has_place, place),
            ("message_id", pc.not_equal(columns["message_id"], EMPTY), columns["message_id"]),
            ("span", pc.not_equal(span, EMPTY), span),
        ]
        cases = pc.make_struct(*(is_so for _, is_so, _ in choices), field_names=[kind for kind, _, _ in choices])
        count = len(span)
        texts = [value for _, _, value in choices]
        return {
            "identity": _filled(pc.case_when(cases, *texts, _repeated("", count))),
            "identity_kind": _filled(pc.case_when(cases, *(_repeated(kind, count) for kind, _, _ in choices), _repeated("", count))),
        }


def table(columns: dict[str, Any]) -> pa.Table:
    """Give columns as ROWS."""
    arrays = [columns[field.name] for field in ROWS]
    made = [array if isinstance(array, pa.Array | pa.ChunkedArray) else pa.array(array) for array in arrays]
    return pa.table([array.cast(field.type) for array, field in zip(made, ROWS, strict=True)], schema=ROWS)


def _hex(ids: list[Unsigned], said: Mask) -> pa.Array:
    """Give trace and span ids as 48 hex digits; '' where nothing is said."""
    digits = binascii.hexlify(np.stack(ids, axis=1).astype(">u8").tobytes())
    offsets = pa.py_buffer(np.arange(0, 48 * len(said) + 1, 48, dtype=np.int32).tobytes())
    texts = pa.Array.from_buffers(pa.string(), len(said), [None, offsets, pa.py_buffer(digits)])
    return pc.if_else(pa.array(said), texts, EMPTY)


def _joined(here: pa.Array, between: int, elsewhere: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays([here, _repeated("", between), *elsewhere.cast(pa.string()).chunks])


def _repeated(text: str, count: int) -> pa.Array:
    return pa.repeat(pa.scalar(text, pa.string()), count)


def _filled(texts: Any) -> Any:
    whole = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    return pc.fill_null(whole, EMPTY)


def _first_known(facts: Facts, name: str, link: Ints, number: Ints) -> Ints:
    """Give the link where it knows a text, else the span."""
    known = facts.known(name)
    return np.where((link >= 0) & known[link], link, number) if len(number) else number
