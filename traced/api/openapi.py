"""The description of the API, as `/api/v1/openapi.json` gives it (OpenAPI 3.1)."""

from __future__ import annotations

from typing import Any

from traced import __version__
from traced.model.edge import ConnectionType
from traced.model.measurement import LOSSES
from traced.model.occurrence import Level
from traced.model.span import SpanKind, StatusCode
from traced.model.suspect import SuspectKind

Json = dict[str, Any]

_TEXT: Json = {"type": "string"}
_TEXTS: Json = {"type": "array", "items": _TEXT}
_COUNT: Json = {"type": "integer", "minimum": 0}
_WHOLE: Json = {"type": "integer", "format": "int64"}
_NUMBER: Json = {"type": "number"}
_TRUTH: Json = {"type": "boolean"}
_FREE: Json = {"type": "object", "additionalProperties": True}
_TIME: Json = {"type": "string", "format": "date-time", "description": "RFC 3339, UTC, nanoseconds."}
_TRACE_ID: Json = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
_SPAN_ID: Json = {"type": "string", "pattern": "^([0-9a-f]{16})?$", "description": "Empty where there is none."}


def _object(properties: Json, optional: tuple[str, ...] = (), description: str = "") -> Json:
    shape: Json = {"type": "object", "properties": properties, "required": [name for name in properties if name not in optional]}
    return {**shape, "description": description} if description else shape


def _list(item: Json) -> Json:
    return {"type": "array", "items": item}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _or_null(shape: Json) -> Json:
    return {"anyOf": [shape, {"type": "null"}]}


_ERROR = {"status": _WHOLE, "error_code": _TEXT, "message": _TEXT, "next_safe_actions": _TEXTS}
_PLACE = _object({"trace_id": _TRACE_ID, "span_id": _SPAN_ID})
_LEVEL: Json = {"type": "string", "enum": [str(level) for level in Level]}
_CONFIDENCE: Json = {"type": "number", "minimum": 0, "maximum": 1}

_FINDING = _object(
    {
        "id": {**_TEXT, "description": "The detector."},
        "level": _LEVEL,
        "cause": {**_TEXT, "description": "Empty where the detector names none."},
        "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
        "service": _TEXT,
        "peer": _or_null(_TEXT),
        "signal_type": _TEXT,
        "signal_name": _TEXT,
        "count": {**_COUNT, "description": "Open occurrences."},
        "adjusted_count": {**_or_null(_NUMBER), "description": "How many there were before sampling; null where that is not known."},
        "confidence": _CONFIDENCE,
        "first_seen": _TIME,
        "last_seen": _TIME,
        "message": _TEXT,
        "how_to_fix": _TEXT,
        "examples": _list(_PLACE),
        "context": _FREE,
    },
    description="All open occurrences that share id, cause, service, peer and signal_name.",
)
_SUSPECT = _object(
    {
        "rank": {"type": "integer", "minimum": 1, "description": "1 is what to mend first."},
        "kind": {"type": "string", "enum": [str(kind) for kind in SuspectKind]},
        "defect": {**_TEXT, "description": "What is wrong there."},
        "known": {**_TRUTH, "description": "What is to be mended is known; else the findings only lie at this place."},
        "place": {**_TEXT, "description": "The place as people say it."},
        "service": {**_TEXT, "description": "Of an edge the service that is called."},
        "peer": {**_or_null(_TEXT), "description": "Of an edge the service that calls."},
        "instance": {**_or_null(_TEXT), "description": "Where all evidence lies on one instance of the service."},
        "level": _LEVEL,
        "confidence": _CONFIDENCE,
        "count": {**_COUNT, "description": "Findings that it explains."},
        "occurrences": {**_COUNT, "description": "Open occurrences of all of them."},
        "findings": {**_TEXTS, "description": "Their fingerprints, worst first; a finding belongs to one suspect."},
        "message": _TEXT,
        "how_to_fix": _TEXT,
    },
    description="One place with one defect, which explains findings: mend it, and they go.",
)
_OCCURRENCE = _object(
    {
        "id": _TEXT,
        "cause": _TEXT,
        "trace_id": _TRACE_ID,
        "span_id": _SPAN_ID,
        "service": _TEXT,
        "peer": _or_null(_TEXT),
        "missing_span_id": _or_null(_SPAN_ID),
        "matched": _or_null(_PLACE),
        "confidence": _CONFIDENCE,
        "level": _LEVEL,
        "signal_name": _TEXT,
        "context": _FREE,
    },
)
_EDGE = _object(
    {
        "client": _TEXT,
        "server": _TEXT,
        "connection_type": {"type": "string", "enum": [str(kind) for kind in ConnectionType]},
        "calls": _COUNT,
        "errors": _COUNT,
        "adjusted_calls": {**_or_null(_NUMBER), "description": "How many there were before sampling; null where that is not known."},
        "client_namespace": _TEXT,
        "server_namespace": _TEXT,
    },
    optional=("client_namespace", "server_namespace"),
)
_MESSAGE_SIDES = ("environment", "producer_namespace", "consumer_namespace", "producer_destination")
_MESSAGE_EDGE = _object(
    {
        **dict.fromkeys(("producer", "destination", "system", "consumer_group", "consumer", *_MESSAGE_SIDES), _TEXT),
        **dict.fromkeys(("messages", "errors", "dead_letters"), _COUNT),
        "at_least": {**_TRUTH, "description": "Links were dropped: there may have been more messages."},
        "published": {**_or_null(_COUNT), "description": "Messages that the producer sent to the destination, to whomever."},
        "lag": {**_or_null(_COUNT), "description": "Messages published and not taken yet, where offsets of both sides say so."},
        "delay": _object({"count": _COUNT, **dict.fromkeys(("mean_seconds", "p50_below_seconds", "p99_below_seconds"), _or_null(_NUMBER))}),
    },
    optional=_MESSAGE_SIDES,
)
_ORIGIN = {
    "service_name": _TEXT,
    "resource": _object({"attributes": _FREE, "schema_url": _TEXT}),
    "scope": _object({"name": _TEXT, "version": _TEXT, "attributes": _FREE, "schema_url": _TEXT}),
}
_SPAN_EVENT = _object({"time_unix_nano": _WHOLE, "name": _TEXT, "attributes": _FREE, "dropped_attributes_count": _COUNT})
_SPAN_LINK = _object(
    {"trace_id": _TRACE_ID, "span_id": _SPAN_ID, "trace_state": _TEXT, "flags": _COUNT, "attributes": _FREE, "dropped_attributes_count": _COUNT},
)
_SPAN = _object(
    {
        "trace_id": _TRACE_ID,
        "span_id": _SPAN_ID,
        "parent_span_id": _SPAN_ID,
        "trace_state": _TEXT,
        "flags": _COUNT,
        "name": _TEXT,
        "kind": {"type": "string", "description": ", ".join(kind.name for kind in SpanKind)},
        "start_time_unix_nano": _WHOLE,
        "end_time_unix_nano": _WHOLE,
        "start_time": _TIME,
        "duration_nano": _WHOLE,
        "status": _object({"code": {"type": "string", "description": ", ".join(code.name for code in StatusCode)}, "message": _TEXT}),
        "attributes": {**_FREE, "description": "With their own types; bytes as base64, NaN and the infinities as words."},
        "events": _list(_SPAN_EVENT),
        "links": _list(_SPAN_LINK),
        **_ORIGIN,
        "dropped_attributes_count": _COUNT,
        "dropped_events_count": _COUNT,
        "dropped_links_count": _COUNT,
    },
)
_LOG = _object(
    {
        "time_unix_nano": _WHOLE,
        "observed_time_unix_nano": _WHOLE,
        "severity_number": _COUNT,
        "severity_text": _TEXT,
        "event_name": _TEXT,
        "body": {"description": "Any JSON value."},
        "span_id": _SPAN_ID,
        "attributes": _FREE,
        **_ORIGIN,
    },
)
_TRACE = _object(
    {
        "trace_id": _TRACE_ID,
        "complete": {**_TRUTH, "description": "Every parent that a span here names is stored, here or not, and at least one root span."},
        "spans": _list(_ref("Span")),
        "total_spans": _COUNT,
        "logs": _list(_ref("LogRecord")),
        "total_logs": _COUNT,
        "truncated": {**_TRUTH, "description": "Not all spans or log records are in this answer, only the earliest."},
        "findings": _list(_ref("Occurrence")),
    },
)
_STATUS = _object(
    {
        "version": _TEXT,
        "alive": _TRUTH,
        "ready": _TRUTH,
        "not_ready_reasons": _TEXTS,
        "view": {"type": "string", "enum": ["complete", "partial"], "description": "Whether all of the system's spans come here, or only a part."},
        "addresses": _object({"otlp_grpc": _TEXT, "otlp_http": _TEXT}),
        "received": _object({"spans": _COUNT, "logs": _COUNT, "data_points": _COUNT}),
        "ignored": _object({"metrics": _COUNT}),
        "refused": _object({"requests": _COUNT}),
        "rejected": _object({"items": _COUNT}),
        "repeated": _object({"spans": _COUNT, "logs": _COUNT}),
        "dropped": _object({"findings": _COUNT, "edges": _COUNT}),
        "last_arrival": _or_null(_TIME),
        "analysis": _object(
            {
                "traces_analyzed": _COUNT,
                "spans_analyzed": _COUNT,
                "traces_waiting": _COUNT,
                "lag_seconds": _NUMBER,
                "analyzed_until": _or_null(_TIME),
                "settle_seconds": _NUMBER,
            },
        ),
        "detectors": _list(_object({"id": _TEXT, "errors": _COUNT, "seconds": _NUMBER})),
        "store": _object({"hot_spans": _COUNT, "sealed_files": _COUNT, "sealed_bytes": _COUNT}),
        "loss_ledger": {**_list(_ref("Account")), "description": "By their own metrics of the last one to two hours, those that lost most first."},
    },
    description="Counts are since the daemon's start, those of what was analysed since the data directory's.",
)
_REPORTED_LOSS = _object(
    {
        "quantity": {"type": "string", "enum": [str(quantity) for quantity in LOSSES]},
        "reason": _or_null(_TEXT),
        "component": _or_null(_TEXT),
        "spans": _COUNT,
        "since": _or_null(_TIME),
        "until": _or_null(_TIME),
    },
)
_ACCOUNT = _object(
    {
        "service": _TEXT,
        "instance": _or_null(_TEXT),
        "started": _COUNT,
        "not_sampled": _COUNT,
        "exported": _COUNT,
        "live": _COUNT,
        "queue_size": _COUNT,
        "queue_capacity": _or_null(_COUNT),
        "until": _TIME,
        "losses": _list(_REPORTED_LOSS),
    },
    description="What one instance of a service, or a Collector, counts of its own spans.",
)
_SCHEMAS = {
    "Error": _object(_ERROR),
    "NotReady": _object({**_ERROR, "reasons": _TEXTS}),
    "Finding": _FINDING,
    "Findings": _object(
        {
            "findings": _list(_ref("Finding")),
            "suspects": {**_list(_ref("Suspect")), "description": "Those that explain any of the findings, what to mend first in front."},
            "total": _COUNT,
            "not_grouped": {**_COUNT, "description": "Open findings beyond the limit of the grouping, the mildest."},
            "truncated": _TRUTH,
        },
    ),
    "Suspect": _SUSPECT,
    "Occurrence": _OCCURRENCE,
    "Edge": _EDGE,
    "MessageEdge": _MESSAGE_EDGE,
    "Graph": _object({"service_graph": _object({"edges": _list(_ref("Edge"))}), "message_graph": _object({"edges": _list(_ref("MessageEdge"))})}),
    "Span": _SPAN,
    "LogRecord": _LOG,
    "Trace": _TRACE,
    "Status": _STATUS,
    "Account": _ACCOUNT,
    "Queries": _object({"queries": _list(_object({"name": _TEXT, "question": _TEXT, "params": _TEXTS}))}),
    "Query": {
        "description": "Either a named query or SQL, with values for its named parameters.",
        "oneOf": [
            {**_object({"name": _TEXT, "params": _FREE}, optional=("params",)), "additionalProperties": False},
            {**_object({"sql": _TEXT, "params": _FREE}, optional=("params",)), "additionalProperties": False},
        ],
    },
    "QueryResult": _object({"columns": _TEXTS, "rows": _list({"type": "array", "items": {}}), "truncated": _TRUTH}),
    "Alive": _object({"alive": _TRUTH}),
    "Ready": _object({"ready": _TRUTH}),
}


def _json(schema: str, description: str) -> Json:
    return {"description": description, "content": {"application/json": {"schema": _ref(schema)}}}


def _operation(operation: str, summary: str, answer: Json, *parameters: Json, errors: tuple[int, ...] = ()) -> Json:
    described: Json = {"operationId": operation, "summary": summary, "responses": {"200": answer}}
    if parameters:
        described["parameters"] = list(parameters)
    for status in errors:
        described["responses"][str(status)] = _json("Error", _MEANINGS[status])
    described["responses"]["default"] = _json("Error", "Anything else that went wrong, in the same shape.")
    return described


_MEANINGS = {
    400: "The request cannot be understood.",
    403: "It comes from a foreign page.",
    404: "It is not here.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    503: "Too busy; come back after Retry-After seconds.",
}


def _parameter(place: str, name: str, schema: Json, description: str) -> Json:
    return {"in": place, "name": name, "required": place == "path", "schema": schema, "description": description}


_PATHS: Json = {
    "/api/v1/findings": {
        "get": _operation(
            "listFindings",
            "Open findings, worst first.",
            _json("Findings", "Those that pass all filters; `total` counts them before the limit."),
            _parameter("query", "service", _TEXT, "Only of this service."),
            _parameter("query", "id", _TEXT, "Only of this detector."),
            _parameter("query", "level", _LEVEL, "Only of this level."),
            _parameter("query", "cause", _TEXT, "Only of this cause."),
            _parameter("query", "limit", {"type": "integer", "minimum": 1, "maximum": 5000, "default": 1000}, "At most so many."),
            errors=(400,),
        ),
    },
    "/api/v1/findings/{fingerprint}": {
        "get": _operation(
            "getFinding",
            "One open finding.",
            _json("Finding", "The finding."),
            _parameter("path", "fingerprint", _TEXT, "16 hex digits."),
            errors=(404,),
        ),
    },
    "/api/v1/graph": {
        "get": _operation(
            "getGraph",
            "The service graph.",
            _json("Graph", "Each call counted once, however many spans describe it."),
            _parameter("query", "start", _NUMBER, "Unix seconds; left out: from the earliest remembered."),
            _parameter("query", "end", _NUMBER, "Unix seconds; left out: to now."),
            errors=(400,),
        ),
    },
    "/api/v1/traces/{trace_id}": {
        "get": _operation(
            "getTrace",
            "One trace with the findings on it.",
            _json("Trace", "Spans and log records, earliest first."),
            _parameter("path", "trace_id", _TEXT, "1 to 32 hex digits in any case; padded on the left."),
            errors=(400, 404, 503),
        ),
    },
    "/api/v1/status": {"get": _operation("getStatus", "How the daemon is.", _json("Status", "Counters and health."))},
    "/api/v1/queries": {"get": _operation("listQueries", "The named queries.", _json("Queries", "Name, question and parameters of each."))},
    "/api/v1/query": {
        "post": {
            **_operation(
                "runQuery",
                "Run a named query or read-only SQL, bounded in time, memory and rows.",
                _json("QueryResult", "The rows; `truncated` says that a limit cut them."),
                errors=(400, 403, 404, 408, 413, 503),
            ),
            "requestBody": {"required": True, "content": {"application/json": {"schema": _ref("Query")}}},
        },
    },
    "/api/v1/openapi.json": {
        "get": _operation("getOpenApi", "This description.", {"description": "OpenAPI 3.1.", "content": {"application/json": {"schema": _FREE}}}),
    },
    "/livez": {"get": _operation("getLive", "Whether the process works at all.", _json("Alive", "It does."), errors=(503,))},
    "/readyz": {
        "get": _operation("getReady", "Whether requests can be taken and answered.", _json("Ready", "They can.")),
    },
    "/metrics": {
        "get": _operation(
            "getMetrics",
            "Metrics for Prometheus.",
            {
                "description": "Prometheus text, or OpenMetrics if the Accept header asks for it.",
                "content": {"text/plain": {"schema": _TEXT}, "application/openmetrics-text": {"schema": _TEXT}},
            },
        ),
    },
}
_NOT = _json("NotReady", "Not now; `reasons` says why.")
for _probe in ("/livez", "/readyz"):
    _PATHS[_probe]["get"]["responses"]["503"] = _NOT

OPENAPI: Json = {
    "openapi": "3.1.0",
    "info": {"title": "traced", "version": __version__, "description": "Findings, service graph, traces and queries of a traced daemon."},
    "paths": _PATHS,
    "components": {"schemas": _SCHEMAS},
}
