"""The description of the API, as `/api/v1/openapi.json` gives it (OpenAPI 3.1)."""

from __future__ import annotations

from traced import __version__
from traced.api.openapi_migrations import MIGRATION_PATHS, MIGRATION_SCHEMAS
from traced.api.openapi_shapes import (
    COUNT,
    FREE,
    NUMBER,
    PLACE,
    SPAN_ID,
    TEXT,
    TEXTS,
    TIME,
    TRACE_ID,
    TRUTH,
    WHOLE,
    Json,
    json_of,
    list_of,
    object_of,
    operation,
    or_null,
    parameter,
    ref,
)
from traced.model.edge import ConnectionType
from traced.model.measurement import LOSSES
from traced.model.occurrence import Level
from traced.model.span import SpanKind, StatusCode
from traced.model.suspect import SuspectKind

_ERROR = {"status": WHOLE, "error_code": TEXT, "message": TEXT, "next_safe_actions": TEXTS}
_LEVEL: Json = {"type": "string", "enum": [str(level) for level in Level]}
_CONFIDENCE: Json = {"type": "number", "minimum": 0, "maximum": 1}

_FINDING = object_of(
    {
        "id": {**TEXT, "description": "The detector."},
        "level": _LEVEL,
        "cause": {**TEXT, "description": "Empty where the detector names none."},
        "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
        "service": TEXT,
        "peer": or_null(TEXT),
        "signal_type": TEXT,
        "signal_name": TEXT,
        "count": {**COUNT, "description": "Open occurrences."},
        "adjusted_count": {**or_null(NUMBER), "description": "How many there were before sampling; null where that is not known."},
        "confidence": _CONFIDENCE,
        "first_seen": TIME,
        "last_seen": TIME,
        "message": TEXT,
        "how_to_fix": TEXT,
        "examples": list_of(PLACE),
        "context": FREE,
    },
    description="All open occurrences that share id, cause, service, peer and signal_name.",
)
_SUSPECT = object_of(
    {
        "rank": {"type": "integer", "minimum": 1, "description": "1 is what to mend first."},
        "kind": {"type": "string", "enum": [str(kind) for kind in SuspectKind]},
        "defect": {**TEXT, "description": "What is wrong there."},
        "known": {**TRUTH, "description": "What is to be mended is known; else the findings only lie at this place."},
        "place": {**TEXT, "description": "The place as people say it."},
        "service": {**TEXT, "description": "Of an edge the service that is called."},
        "peer": {**or_null(TEXT), "description": "Of an edge the service that calls."},
        "instance": {**or_null(TEXT), "description": "Where all evidence lies on one instance of the service."},
        "level": _LEVEL,
        "confidence": _CONFIDENCE,
        "count": {**COUNT, "description": "Findings that it explains."},
        "occurrences": {**COUNT, "description": "Open occurrences of all of them."},
        "findings": {**TEXTS, "description": "Their fingerprints, worst first; a finding belongs to one suspect."},
        "message": TEXT,
        "how_to_fix": TEXT,
    },
    description="One place with one defect, which explains findings: mend it, and they go.",
)
_OCCURRENCE = object_of(
    {
        "id": TEXT,
        "cause": TEXT,
        "trace_id": TRACE_ID,
        "span_id": SPAN_ID,
        "service": TEXT,
        "peer": or_null(TEXT),
        "missing_span_id": or_null(SPAN_ID),
        "matched": or_null(PLACE),
        "confidence": _CONFIDENCE,
        "level": _LEVEL,
        "signal_name": TEXT,
        "context": FREE,
    },
)
_EDGE = object_of(
    {
        "client": TEXT,
        "server": TEXT,
        "connection_type": {"type": "string", "enum": [str(kind) for kind in ConnectionType]},
        "calls": COUNT,
        "errors": COUNT,
        "adjusted_calls": {**or_null(NUMBER), "description": "How many there were before sampling; null where that is not known."},
        "client_namespace": TEXT,
        "server_namespace": TEXT,
    },
    optional=("client_namespace", "server_namespace"),
)
_MESSAGE_SIDES = ("environment", "producer_namespace", "consumer_namespace", "producer_destination")
_MESSAGE_EDGE = object_of(
    {
        **dict.fromkeys(("producer", "destination", "system", "consumer_group", "consumer", *_MESSAGE_SIDES), TEXT),
        **dict.fromkeys(("messages", "errors", "dead_letters"), COUNT),
        "at_least": {**TRUTH, "description": "Links were dropped: there may have been more messages."},
        "published": {**or_null(COUNT), "description": "Messages that the producer sent to the destination, to whomever."},
        "lag": {**or_null(COUNT), "description": "Messages published and not taken yet, where offsets of both sides say so."},
        "delay": object_of({"count": COUNT, **dict.fromkeys(("mean_seconds", "p50_below_seconds", "p99_below_seconds"), or_null(NUMBER))}),
    },
    optional=_MESSAGE_SIDES,
)
_ORIGIN = {
    "service_name": TEXT,
    "resource": object_of({"attributes": FREE, "schema_url": TEXT}),
    "scope": object_of({"name": TEXT, "version": TEXT, "attributes": FREE, "schema_url": TEXT}),
}
_SPAN_EVENT = object_of({"time_unix_nano": WHOLE, "name": TEXT, "attributes": FREE, "dropped_attributes_count": COUNT})
_SPAN_LINK = object_of(
    {"trace_id": TRACE_ID, "span_id": SPAN_ID, "trace_state": TEXT, "flags": COUNT, "attributes": FREE, "dropped_attributes_count": COUNT},
)
_SPAN = object_of(
    {
        "trace_id": TRACE_ID,
        "span_id": SPAN_ID,
        "parent_span_id": SPAN_ID,
        "trace_state": TEXT,
        "flags": COUNT,
        "name": TEXT,
        "kind": {"type": "string", "description": ", ".join(kind.name for kind in SpanKind)},
        "start_time_unix_nano": WHOLE,
        "end_time_unix_nano": WHOLE,
        "start_time": TIME,
        "duration_nano": WHOLE,
        "status": object_of({"code": {"type": "string", "description": ", ".join(code.name for code in StatusCode)}, "message": TEXT}),
        "attributes": {**FREE, "description": "With their own types; bytes as base64, NaN and the infinities as words."},
        "events": list_of(_SPAN_EVENT),
        "links": list_of(_SPAN_LINK),
        **_ORIGIN,
        "dropped_attributes_count": COUNT,
        "dropped_events_count": COUNT,
        "dropped_links_count": COUNT,
    },
)
_LOG = object_of(
    {
        "time_unix_nano": WHOLE,
        "observed_time_unix_nano": WHOLE,
        "severity_number": COUNT,
        "severity_text": TEXT,
        "event_name": TEXT,
        "body": {"description": "Any JSON value."},
        "span_id": SPAN_ID,
        "attributes": FREE,
        **_ORIGIN,
    },
)
_TRACE = object_of(
    {
        "trace_id": TRACE_ID,
        "complete": {**TRUTH, "description": "Every parent that a span here names is stored, here or not, and at least one root span."},
        "spans": list_of(ref("Span")),
        "total_spans": COUNT,
        "logs": list_of(ref("LogRecord")),
        "total_logs": COUNT,
        "truncated": {**TRUTH, "description": "Not all spans or log records are in this answer, only the earliest."},
        "findings": list_of(ref("Occurrence")),
    },
)
_STATUS = object_of(
    {
        "version": TEXT,
        "alive": TRUTH,
        "ready": TRUTH,
        "not_ready_reasons": TEXTS,
        "view": {"type": "string", "enum": ["complete", "partial"], "description": "Whether all of the system's spans come here, or only a part."},
        "addresses": object_of({"otlp_grpc": TEXT, "otlp_http": TEXT}),
        "received": object_of({"spans": COUNT, "logs": COUNT, "data_points": COUNT}),
        "ignored": object_of({"metrics": COUNT}),
        "refused": object_of({"requests": COUNT}),
        "rejected": object_of({"items": COUNT}),
        "repeated": object_of({"spans": COUNT, "logs": COUNT}),
        "dropped": object_of({"findings": COUNT, "edges": COUNT}),
        "last_arrival": or_null(TIME),
        "analysis": object_of(
            {
                "traces_analyzed": COUNT,
                "spans_analyzed": COUNT,
                "traces_waiting": COUNT,
                "lag_seconds": NUMBER,
                "analyzed_until": or_null(TIME),
                "settle_seconds": NUMBER,
            },
        ),
        "detectors": list_of(object_of({"id": TEXT, "errors": COUNT, "seconds": NUMBER})),
        "store": object_of({"hot_spans": COUNT, "sealed_files": COUNT, "sealed_bytes": COUNT}),
        "loss_ledger": {**list_of(ref("Account")), "description": "By their own metrics of the last one to two hours, those that lost most first."},
    },
    description="Counts are since the daemon's start, those of what was analysed since the data directory's.",
)
_REPORTED_LOSS = object_of(
    {
        "quantity": {"type": "string", "enum": [str(quantity) for quantity in LOSSES]},
        "reason": or_null(TEXT),
        "component": or_null(TEXT),
        "spans": COUNT,
        "since": or_null(TIME),
        "until": or_null(TIME),
    },
)
_ACCOUNT = object_of(
    {
        "service": TEXT,
        "instance": or_null(TEXT),
        "started": COUNT,
        "not_sampled": COUNT,
        "exported": COUNT,
        "live": COUNT,
        "queue_size": COUNT,
        "queue_capacity": or_null(COUNT),
        "until": TIME,
        "losses": list_of(_REPORTED_LOSS),
    },
    description="What one instance of a service, or a Collector, counts of its own spans.",
)
_SCHEMAS = {
    "Error": object_of(_ERROR),
    "NotReady": object_of({**_ERROR, "reasons": TEXTS}),
    "Finding": _FINDING,
    "Findings": object_of(
        {
            "findings": list_of(ref("Finding")),
            "suspects": {**list_of(ref("Suspect")), "description": "Those that explain any of the findings, what to mend first in front."},
            "total": COUNT,
            "not_grouped": {**COUNT, "description": "Open findings beyond the limit of the grouping, the mildest."},
            "truncated": TRUTH,
        },
    ),
    "Suspect": _SUSPECT,
    "Occurrence": _OCCURRENCE,
    "Edge": _EDGE,
    "MessageEdge": _MESSAGE_EDGE,
    "Graph": object_of({"service_graph": object_of({"edges": list_of(ref("Edge"))}), "message_graph": object_of({"edges": list_of(ref("MessageEdge"))})}),
    "Span": _SPAN,
    "LogRecord": _LOG,
    "Trace": _TRACE,
    "Status": _STATUS,
    "Account": _ACCOUNT,
    **MIGRATION_SCHEMAS,
    "Queries": object_of({"queries": list_of(object_of({"name": TEXT, "question": TEXT, "params": TEXTS}))}),
    "Query": {
        "description": "Either a named query or SQL, with values for its named parameters.",
        "oneOf": [
            {**object_of({"name": TEXT, "params": FREE}, optional=("params",)), "additionalProperties": False},
            {**object_of({"sql": TEXT, "params": FREE}, optional=("params",)), "additionalProperties": False},
        ],
    },
    "QueryResult": object_of({"columns": TEXTS, "rows": list_of({"type": "array", "items": {}}), "truncated": TRUTH}),
    "Alive": object_of({"alive": TRUTH}),
    "Ready": object_of({"ready": TRUTH}),
}


_PATHS: Json = {
    "/api/v1/findings": {
        "get": operation(
            "listFindings",
            "Open findings, worst first.",
            json_of("Findings", "Those that pass all filters; `total` counts them before the limit."),
            parameter("query", "service", TEXT, "Only of this service."),
            parameter("query", "id", TEXT, "Only of this detector."),
            parameter("query", "level", _LEVEL, "Only of this level."),
            parameter("query", "cause", TEXT, "Only of this cause."),
            parameter("query", "limit", {"type": "integer", "minimum": 1, "maximum": 5000, "default": 1000}, "At most so many."),
            errors=(400,),
        ),
    },
    "/api/v1/findings/{fingerprint}": {
        "get": operation(
            "getFinding",
            "One open finding.",
            json_of("Finding", "The finding."),
            parameter("path", "fingerprint", TEXT, "16 hex digits."),
            errors=(404,),
        ),
    },
    "/api/v1/graph": {
        "get": operation(
            "getGraph",
            "The service graph.",
            json_of("Graph", "Each call counted once, however many spans describe it."),
            parameter("query", "start", NUMBER, "Unix seconds; left out: from the earliest remembered."),
            parameter("query", "end", NUMBER, "Unix seconds; left out: to now."),
            errors=(400,),
        ),
    },
    "/api/v1/traces/{trace_id}": {
        "get": operation(
            "getTrace",
            "One trace with the findings on it.",
            json_of("Trace", "Spans and log records, earliest first."),
            parameter("path", "trace_id", TEXT, "1 to 32 hex digits in any case; padded on the left."),
            errors=(400, 404, 503),
        ),
    },
    **MIGRATION_PATHS,
    "/api/v1/status": {"get": operation("getStatus", "How the daemon is.", json_of("Status", "Counters and health."))},
    "/api/v1/queries": {"get": operation("listQueries", "The named queries.", json_of("Queries", "Name, question and parameters of each."))},
    "/api/v1/query": {
        "post": {
            **operation(
                "runQuery",
                "Run a named query or read-only SQL, bounded in time, memory and rows.",
                json_of("QueryResult", "The rows; `truncated` says that a limit cut them."),
                errors=(400, 403, 404, 408, 413, 503),
            ),
            "requestBody": {"required": True, "content": {"application/json": {"schema": ref("Query")}}},
        },
    },
    "/api/v1/openapi.json": {
        "get": operation("getOpenApi", "This description.", {"description": "OpenAPI 3.1.", "content": {"application/json": {"schema": FREE}}}),
    },
    "/livez": {"get": operation("getLive", "Whether the process works at all.", json_of("Alive", "It does."), errors=(503,))},
    "/readyz": {
        "get": operation("getReady", "Whether requests can be taken and answered.", json_of("Ready", "They can.")),
    },
    "/metrics": {
        "get": operation(
            "getMetrics",
            "Metrics for Prometheus.",
            {
                "description": "Prometheus text, or OpenMetrics if the Accept header asks for it.",
                "content": {"text/plain": {"schema": TEXT}, "application/openmetrics-text": {"schema": TEXT}},
            },
        ),
    },
}
_NOT = json_of("NotReady", "Not now; `reasons` says why.")
for _probe in ("/livez", "/readyz"):
    _PATHS[_probe]["get"]["responses"]["503"] = _NOT

OPENAPI: Json = {
    "openapi": "3.1.0",
    "info": {"title": "traced", "version": __version__, "description": "Findings, service graph, traces and queries of a traced daemon."},
    "paths": _PATHS,
    "components": {"schemas": _SCHEMAS},
}
