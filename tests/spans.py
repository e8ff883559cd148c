"""Spans, one line each: what every test of trees, calls, detectors and settling is written in.

    spans("web SERVER a", "web CLIENT b<a peer=cart", "cart SERVER c<b err +3ms")

A line is words, split as a shell does (so `name="GET /cart"` is one word):

    SERVICE KIND ID[<PARENT] [WORD ...]

SERVICE is `name` or `namespace/name`; `-` has no service.name. KIND is OTLP's, in capitals. ID and PARENT are any letters; a PARENT that no line
has as its ID is an absent parent; 16 hex digits (of a trace 32) are the id itself. Spans are in the trace `t` unless the ID says another:
`other:b<a` is span b, child of a, in trace other.
Further words, in any order:

    err, ok             the status (unset without)
    +3ms                start, from the beginning of the test's time; else 1 ms after the parent's
    ~20ms               duration; else 2 ms less than the parent's, and 100 ms where there is no parent
    @40s                arrival; else at 0
    ->x, ->other:x      a span link; with attributes of the link `->other:x[key=value;key=value]`, where `flags` is its flags
    remote, local       the parent is in another process, or in this one (`Span.flags`)
    key=value           an attribute: a short name of SHORT, or any key with a dot in it; values are text, or, as ["a","b"], an array of texts
    host=, instance=, version=, sdk=, env=, resource.KEY=    an attribute of the resource
    name=, flags=, dropped_links=, state=              a field of the span (state is `trace_state`)

The same spans come out as OTLP protobuf, for the real decoder and store, and as the staged table that a pass reads.
"""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import pyarrow as pa
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from traced.analysis.giants import NO_SIZES, kept, plan
from traced.analysis.settled import IDS, Settled, trace_keys
from traced.model.schema import REPEATS, TYPED_ATTRIBUTES
from traced.model.span import FLAGS_HAS_IS_REMOTE, FLAGS_IS_REMOTE, SpanKind, StatusCode
from traced.store.message_keys import says_of_messages
from traced.store.queries import load_folder
from traced.store.read_schemas import WINDOW_SCHEMA
from traced.store.workbench import Workbench

EPOCH = 1_700_000_000_000_000_000
"""The beginning of every test's time, in unix nanoseconds."""

SHORT = {
    "peer": "service.peer.name",
    "addr": "server.address",
    "route": "http.route",
    "status": "http.response.status_code",
    "error": "error.type",
    "db": "db.system.name",
    "msg": "messaging.system",
    "dest": "messaging.destination.name",
    "op": "messaging.operation.type",
    "request": "request.id",
    "id": "messaging.message.id",
    "group": "messaging.consumer.group.name",
    "partition": "messaging.destination.partition.id",
    "offset": "messaging.kafka.offset",
    "batch": "messaging.batch.message_count",
    "v": "message.schema.version",
}
FURTHER_MESSAGE_KEYS = frozenset({"bill.format", "bill.what", "http.request.header.api-version"})
"""What the tests' migrations are configured by: what `Store(message_keys=…)` is told."""
RESOURCE = {
    "env": "deployment.environment.name",
    "host": "host.id",
    "instance": "service.instance.id",
    "version": "service.version",
    "sdk": "telemetry.sdk.language",
}

_STATUS = {"err": StatusCode.ERROR, "ok": StatusCode.OK}
_REMOTE = {"remote": FLAGS_HAS_IS_REMOTE | FLAGS_IS_REMOTE, "local": FLAGS_HAS_IS_REMOTE}
_TIMES = {"+": "start", "~": "duration", "@": "arrival"}
_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9}
_TIME = re.compile(r"^(-?\d+(?:\.\d+)?)(ns|us|ms|s|min|h)$")
_PLACE = re.compile(r"^(?:(?P<trace>[\w.-]+):)?(?P<span>[\w-]+)(?:<(?P<parent>[\w-]+))?$")


@dataclass(frozen=True)
class Line:
    """One parsed line; ids are names, times are nanoseconds after EPOCH."""

    text: str
    service: str
    namespace: str
    kind: SpanKind
    trace: str
    span: str
    parent: str
    name: str
    start: int | None = None
    duration: int | None = None
    arrival: int = 0
    status: StatusCode = StatusCode.UNSET
    flags: int = 0
    dropped_links: int = 0
    state: str = ""
    links: tuple[tuple[str, str], ...] = ()
    link_attributes: tuple[dict[str, str], ...] = ()
    attributes: dict[str, str] = field(default_factory=dict)
    resource: dict[str, str] = field(default_factory=dict)

    @property
    def identity(self) -> tuple[str, str, int, str, str]:
        """What makes two lines the same span for the store."""
        return (self.trace, self.span, int(self.kind), self.namespace, self.service)

    @property
    def content(self) -> tuple[object, ...]:
        """What must be equal for a repeat not to be a conflict."""
        return (self.name, self.parent, self.start, self.duration, self.status)


def span_id(name: str) -> int:
    """Give the number of a span's name: never 0."""
    if re.fullmatch(r"[0-9a-f]{16}", name):
        return int(name, 16)
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big") | 1


def trace_id(name: str) -> tuple[int, int]:
    """Give the (high, low) numbers of a trace's name."""
    plain = re.fullmatch(r"[0-9a-f]{32}", name)
    digest = bytes.fromhex(name) if plain else hashlib.blake2b(b"trace " + name.encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big")


def nanos(text: str) -> int:
    """Read a time such as `3ms`."""
    match = _TIME.match(text)
    assert match, f"not a time: {text!r}"
    return round(float(match[1]) * _UNITS[match[2]])


def parse(text: str) -> Line:
    """Read one line."""
    service, kind, place, *words = shlex.split(text)
    where = _PLACE.match(place)
    assert where, f"not an id: {place!r}"
    namespace, _, plain = service.rpartition("/")
    plain = "" if plain == "-" else plain
    line = Line(text, plain, namespace, SpanKind[kind], where["trace"] or "t", where["span"], where["parent"] or "", f"{plain} {kind.lower()}")
    for word in words:
        line = _with_word(line, word)
    return line


def _with_word(line: Line, word: str) -> Line:
    if word in _STATUS:
        return replace(line, status=_STATUS[word])
    if word in _REMOTE:
        return replace(line, flags=line.flags | _REMOTE[word])
    if word.startswith("->"):
        target, _, inside = word[2:].removesuffix("]").partition("[")
        trace, _, span = target.rpartition(":")
        attributes = {key: value for key, _, value in (pair.partition("=") for pair in inside.split(";") if pair)}
        return replace(line, links=(*line.links, (trace or line.trace, span)), link_attributes=(*line.link_attributes, attributes))
    if word[0] in _TIMES:
        return replace(line, **{_TIMES[word[0]]: nanos(word[1:])})
    key, equals, value = word.partition("=")
    assert equals, f"not a word of a span: {word!r}"
    return _with_value(line, key, value)


def _with_value(line: Line, key: str, value: str) -> Line:
    if key in ("name", "state"):
        return replace(line, **{key: value})
    if key in ("flags", "dropped_links"):
        return replace(line, **{key: int(value, 0)})
    if key in RESOURCE or key.startswith("resource."):
        return replace(line, resource=line.resource | {RESOURCE.get(key, key.removeprefix("resource.")): value})
    assert key in SHORT or "." in key, f"no short name of an attribute: {key!r}"
    return replace(line, attributes=line.attributes | {SHORT.get(key, key): value})


class Spans:
    """Spans of any number of traces, in the order of their lines."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self.lines = _timed(list(lines))

    def __add__(self, other: Spans) -> Spans:
        return Spans([*self.lines, *other.lines])

    def __len__(self) -> int:
        return len(self.lines)

    def names(self) -> dict[int, str]:
        """Give the names of all span ids, absent parents included."""
        return {span_id(n): n for line in self.lines for n in (line.span, line.parent) if n}

    def without(self, span: str) -> Spans:
        """Give all spans but those with one name."""
        return Spans([line for line in self.lines if line.span != span])

    # ------------------------------------------------------------------ as a sender sends them

    def requests(self) -> list[tuple[int, bytes]]:
        """Give (arrival in nanoseconds after EPOCH, ExportTraceServiceRequest), one for each time of arrival, in that order."""
        arrivals = sorted({line.arrival for line in self.lines})
        return [(at, _request([line for line in self.lines if line.arrival == at])) for at in arrivals]

    # ------------------------------------------------------------------ as a pass reads them

    def stored(self) -> tuple[list[Line], list[tuple[Line, bool]]]:
        """Divide as the store does: (stored lines, [(repeat, whether its content differs)])."""
        first: dict[tuple[str, str, int, str, str], Line] = {}
        repeats = []
        for line in sorted(self.lines, key=lambda x: x.arrival):
            known = first.setdefault(line.identity, line)
            if known is not line:
                repeats.append((line, known.content != line.content))
        return list(first.values()), repeats

    def staged(self) -> pa.Table:
        """Give the stored spans as `queries/analysis/staged_spans.sql` gives them."""
        kept, _ = self.stored()
        window = pa.Table.from_pylist([window_row(line) for line in kept], schema=WINDOW_SCHEMA)
        bench = shared_workbench()
        bench.register({"window_spans": window})
        return bench.run(load_folder("analysis")["staged_spans"], {"since": 0, "until": 2**62})

    def repeats(self) -> pa.Table:
        """Give the repeated spans as the store keeps them."""
        return pa.Table.from_pylist([repeat_row(line, differs) for line, differs in self.stored()[1]], schema=REPEATS)

    def settled(self, max_spans_per_trace: int = 2**62) -> Settled:
        """Give everything as one settled window that no earlier pass has looked at."""
        return first_look(self.staged(), self.repeats(), max_spans_per_trace)


def first_look(staged: pa.Table, repeats: pa.Table, max_spans_per_trace: int = 2**62) -> Settled:
    """Give traces that are all new, and whole but for giants."""
    keys = trace_keys(staged)
    rooms = plan(keys, staged.select(IDS).slice(0, 0), NO_SIZES, max_spans_per_trace, None).rooms
    kept_rows = kept(staged, keys, rooms)
    cut, none = staged.filter(pa.array(kept_rows)), np.zeros(np.count_nonzero(kept_rows), bool)
    giant = np.isin(keys[kept_rows], np.fromiter(rooms, np.uint64, len(rooms)))
    return Settled(cut, none, ~none, giant, cut.slice(0, 0), repeats, np.zeros(repeats.num_rows, bool), len(rooms))


def spans(*lines: str) -> Spans:
    """Read lines to spans."""
    return Spans(parse(line) for line in lines)


def many(count: int, *lines: str) -> list[str]:
    """Repeat lines in traces of their own: m0, m1, …; a line without a trace is in each of them."""
    return [_in_trace(line, f"m{number}") for number in range(count) for line in lines]


def _in_trace(line: str, trace: str) -> str:
    service, kind, place, *words = line.split(" ")
    return " ".join([service, kind, f"{trace}:{place}", *words])


def _timed(lines: list[Line]) -> list[Line]:
    """Fill in starts and durations by the parents, without recursion."""
    by_id = {}
    for line in lines:
        by_id.setdefault((line.trace, line.span), line)
    known: dict[tuple[str, str], tuple[int, int]] = {}
    for line in lines:
        chain = [(line.trace, line.span)]
        seen = set(chain)
        while (above := (line.trace, by_id[chain[-1]].parent)) in by_id and above not in known and above not in seen:
            chain.append(above)
            seen.add(above)
        for key in reversed(chain):
            one = by_id[key]
            above = known.get((one.trace, one.parent))
            start, duration = (above[0] + 10**6, max(1000, above[1] - 2 * 10**6)) if above else (0, 100 * 10**6)
            known.setdefault(key, (start if one.start is None else one.start, duration if one.duration is None else one.duration))
    timed = []
    for line in lines:
        start, duration = known[line.trace, line.span]
        timed.append(replace(line, start=start if line.start is None else line.start, duration=duration if line.duration is None else line.duration))
    return timed


def _request(lines: list[Line]) -> bytes:
    request = ExportTraceServiceRequest()
    for line in lines:
        under = request.resource_spans.add()
        resource = dict(line.resource)
        if line.service:
            resource["service.name"] = line.service
        if line.namespace:
            resource["service.namespace"] = line.namespace
        under.resource.attributes.extend(_key_values(resource))
        _fill(under.scope_spans.add().spans.add(), line)
    return request.SerializeToString()


def _fill(one: OtlpSpan, line: Line) -> None:
    assert line.start is not None
    assert line.duration is not None
    one.trace_id = b"".join(part.to_bytes(8, "big") for part in trace_id(line.trace))
    one.span_id = span_id(line.span).to_bytes(8, "big")
    if line.parent:
        one.parent_span_id = span_id(line.parent).to_bytes(8, "big")
    one.name, one.kind, one.flags = line.name, int(line.kind), line.flags
    one.start_time_unix_nano, one.end_time_unix_nano = EPOCH + line.start, EPOCH + line.start + line.duration
    one.dropped_links_count, one.trace_state = line.dropped_links, line.state
    one.attributes.extend(_key_values(line.attributes))
    if line.status is not StatusCode.UNSET:
        one.status.code = int(line.status)
    for (trace, span), attributes in zip(line.links, line.link_attributes, strict=True):
        link = one.links.add(trace_id=b"".join(part.to_bytes(8, "big") for part in trace_id(trace)), span_id=span_id(span).to_bytes(8, "big"))
        link.flags = int(attributes.get("flags", "0"), 0)
        link.attributes.extend(_key_values({SHORT.get(k, k): v for k, v in attributes.items() if k != "flags"}))


def _key_values(attributes: dict[str, str]) -> Iterator[KeyValue]:
    for key, value in attributes.items():
        if value.startswith('["'):
            texts = ArrayValue(values=[AnyValue(string_value=text) for text in json.loads(value)])
            yield KeyValue(key=key, value=AnyValue(array_value=texts))
        else:
            yield KeyValue(key=key, value=AnyValue(string_value=value))


def _attributes(attributes: dict[str, str]) -> list[dict[str, object]]:
    """Give attributes as ATTRIBUTE rows."""
    return [{"key": key, "type": 5 if value.startswith('["') else 1, "value": value} for key, value in attributes.items()]


def window_row(line: Line) -> dict[str, object]:
    assert line.start is not None
    assert line.duration is not None
    high, low = trace_id(line.trace)
    typed = {c: next((line.attributes[s] for s in spellings if s in line.attributes), None) for c, spellings in TYPED_ATTRIBUTES.items()}
    links = [
        {
            "trace_id_high": trace_id(trace)[0],
            "trace_id_low": trace_id(trace)[1],
            "span_id": span_id(span),
            "flags": int(attributes.get("flags", "0"), 0),
            "attributes": _attributes({SHORT.get(k, k): v for k, v in attributes.items() if k != "flags"}),
        }
        for (trace, span), attributes in zip(line.links, line.link_attributes, strict=True)
    ]
    return typed | {
        "trace_id_high": high,
        "trace_id_low": low,
        "span_id": span_id(line.span),
        "parent_span_id": span_id(line.parent) if line.parent else 0,
        "trace_state": line.state,
        "flags": line.flags,
        "name": line.name,
        "kind": int(line.kind),
        "start_time_unix_nano": EPOCH + line.start,
        "end_time_unix_nano": EPOCH + line.start + line.duration,
        "status_code": int(line.status),
        "dropped_links_count": line.dropped_links,
        "service_namespace": line.namespace or None,
        "service_name": line.service or None,
        "service_version": line.resource.get("service.version"),
        "service_instance_id": line.resource.get("service.instance.id"),
        "host": line.resource.get("host.id") or line.resource.get("service.instance.id"),
        "telemetry_sdk_language": line.resource.get("telemetry.sdk.language"),
        "deployment_environment_name": line.resource.get("deployment.environment.name") or line.resource.get("deployment.environment"),
        "message_attributes": _attributes({k: v for k, v in line.attributes.items() if says_of_messages(k, FURTHER_MESSAGE_KEYS)}) or None,
        "links": links or None,
        "arrival_time_unix_nano": EPOCH + line.arrival,
    }


def repeat_row(line: Line, differs: bool) -> dict[str, object]:  # noqa: FBT001 - a fact, not a switch
    row = {k: v for k, v in window_row(line).items() if k in REPEATS.names}
    return row | {"conflicting": differs, "service_name": line.service or "", "service_namespace": line.namespace or ""}


@cache
def shared_workbench() -> Workbench:
    """Give the one workbench of all tests in this process: opening one takes longer than a pass."""
    return Workbench(threads=1)
