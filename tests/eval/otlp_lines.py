"""Sets to OTLP/JSON lines and back: one export request a line, spans grouped by resource, as a Collector forwards them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .traces import RECEIVING, SENDING, Kind, Link, Resource, Span, TraceSet, Value

SPANS_A_REQUEST = 512


def lines(spans: Iterable[Span]) -> Iterable[str]:
    """Give export requests for spans in the order in which they arrive."""
    arriving = list(spans)
    for first in range(0, len(arriving), SPANS_A_REQUEST):
        groups: dict[tuple[int, str], list[Span]] = {}
        for span in arriving[first : first + SPANS_A_REQUEST]:
            groups.setdefault((id(span.resource), json.dumps(span.scope, sort_keys=True)), []).append(span)
        yield json.dumps({"resourceSpans": [_group(group) for group in groups.values()]}, separators=(",", ":"))


def write(path: Path, spans: Iterable[Span]) -> None:
    """Write spans to a .jsonl file."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines(spans))


def _group(spans: Sequence[Span]) -> dict[str, Any]:
    scope: dict[str, Any] = {"name": "eval"}
    if spans[0].scope:
        scope["attributes"] = _attributes(spans[0].scope)
    return {
        "resource": {"attributes": _attributes(spans[0].resource.attributes)},
        "scopeSpans": [{"scope": scope, "spans": [_span(span) for span in spans]}],
    }


def _span(span: Span) -> dict[str, Any]:
    made: dict[str, Any] = {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        "parentSpanId": span.parent_span_id,
        "name": span.name,
        "kind": int(span.kind),
        "startTimeUnixNano": str(span.start),
        "endTimeUnixNano": str(span.end),
        "attributes": _attributes(span.attributes),
        "status": {"code": 2} if span.error else {},
    }
    if span.flags:
        made["flags"] = span.flags
    if span.trace_state:
        made["traceState"] = span.trace_state
    if span.links:
        made["links"] = [{"traceId": x.target[0], "spanId": x.target[1], "flags": x.flags} for x in span.links]
    return made


def _attributes(attributes: Mapping[str, Value]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: Value) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}


def read(path: Path, name: str, max_traces: int) -> TraceSet:
    """Read the first traces of a file that lacks nothing; who is remote is judged by service and kind."""
    spans: list[Span] = []
    traces: dict[str, None] = {}
    resources: dict[str, Resource] = {}
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for group in (group for line in file for group in json.loads(line)["resourceSpans"]):
            resource = _resource(resources, group["resource"]["attributes"])
            for json_span in (s for scope in group["scopeSpans"] for s in scope["spans"]):
                if json_span["traceId"] in traces or len(traces) < max_traces:
                    traces[json_span["traceId"]] = None
                    spans.append(_read_span(json_span, resource))
    spans.sort(key=lambda s: (s.end, s.trace_id, s.span_id, s.kind))
    return TraceSet(name, tuple(_with_remote([replace(s, uid=n) for n, s in enumerate(spans)])))


def _resource(known: dict[str, Resource], attributes: list[dict[str, Any]]) -> Resource:
    text = json.dumps(attributes, sort_keys=True)
    if text not in known:
        plain = _plain(attributes)
        known[text] = Resource(str(plain.get("service.name", "")), text, "", "", plain, flags=False)
    return known[text]


def _plain(attributes: Iterable[Mapping[str, Any]]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for pair in attributes:
        kind, value = next(iter(pair["value"].items()), ("stringValue", ""))
        found[pair["key"]] = int(value) if kind == "intValue" else value if isinstance(value, bool | float) else str(value)
    return found


def _read_span(json_span: Mapping[str, Any], resource: Resource) -> Span:
    attributes = _plain(json_span.get("attributes", ()))
    kind, error = Kind(json_span.get("kind", 0)), json_span.get("status", {}).get("code") == 2
    status = attributes.get("http.status_code", attributes.get("http.response.status_code"))
    return Span(
        uid=0,
        trace_id=json_span["traceId"],
        span_id=json_span["spanId"],
        parent_span_id=json_span.get("parentSpanId", ""),
        name=json_span["name"],
        kind=kind,
        start=int(json_span["startTimeUnixNano"]),
        end=int(json_span["endTimeUnixNano"]),
        resource=resource,
        attributes=attributes,
        flags=int(json_span.get("flags", 0)),
        error=error,
        responded=not (kind is Kind.CLIENT and error and status is None),
        links=tuple(Link((x["traceId"], x["spanId"])) for x in json_span.get("links", ())),
    )


def _with_remote(spans: Sequence[Span]) -> Iterable[Span]:
    """Say who is called from another process: by another service, or a receiver by a sender."""
    holders: dict[tuple[str, str], list[Span]] = {}
    for span in spans:
        holders.setdefault(span.key, []).append(span)
    for span in spans:
        half = [x for x in holders[span.key] if x.kind in SENDING] if span.kind in RECEIVING else []
        parents = half or holders.get((span.trace_id, span.parent_span_id), [])
        elsewhere = bool(parents) and all(p.service != span.service or (p.kind in SENDING and span.kind in RECEIVING) for p in parents)
        yield replace(span, remote=elsewhere)
