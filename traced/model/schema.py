"""Arrow schemas: the compact columns that travel from receiver to store, and the public ones of sealed files.

Ids are unsigned integers (a trace id is two), because joins over integers are ten times cheaper than over text.
Times are signed nanoseconds since 1970. Attribute values are kept as text with their OTLP type beside them, so
that nothing is lost and nothing needs a union type.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

ATTRIBUTE: Final = pa.struct([("key", pa.string()), ("type", pa.uint8()), ("value", pa.string())])
"""One attribute: its key, its `AttributeType`, and its value as text (JSON for arrays and maps, base64 for bytes)."""

ATTRIBUTE_IDS: Final = pa.list_(pa.uint32())
"""Attributes as positions in an attribute dictionary."""

ATTRIBUTE_DICTIONARY: Final = pa.schema([("key", pa.string()), ("type", pa.uint8()), ("value", pa.string())])
"""Each distinct attribute of a batch once."""

RESOURCES: Final = pa.schema(
    [
        ("service_namespace", pa.string()),
        ("service_name", pa.string()),
        ("service_version", pa.string()),
        ("service_instance_id", pa.string()),
        ("host", pa.string()),
        ("telemetry_sdk_language", pa.string()),
        ("deployment_environment_name", pa.string()),
        ("attribute_ids", ATTRIBUTE_IDS),
        ("dropped_attributes_count", pa.uint32()),
        ("schema_url", pa.string()),
    ],
)
"""Who sent. `host` identifies a clock: host.id, else k8s.node.name, host.name, service.instance.id."""

SCOPES: Final = pa.schema(
    [
        ("name", pa.string()),
        ("version", pa.string()),
        ("attribute_ids", ATTRIBUTE_IDS),
        ("dropped_attributes_count", pa.uint32()),
        ("schema_url", pa.string()),
    ],
)

COMPACT_EVENT: Final = pa.struct(
    [
        ("time_unix_nano", pa.int64()),
        ("name", pa.string()),
        ("attribute_ids", ATTRIBUTE_IDS),
        ("dropped_attributes_count", pa.uint32()),
    ],
)
COMPACT_LINK: Final = pa.struct(
    [
        ("trace_id_high", pa.uint64()),
        ("trace_id_low", pa.uint64()),
        ("span_id", pa.uint64()),
        ("trace_state", pa.string()),
        ("flags", pa.uint32()),
        ("attribute_ids", ATTRIBUTE_IDS),
        ("dropped_attributes_count", pa.uint32()),
    ],
)

SPAN_CORE: Final[list[tuple[str, pa.DataType]]] = [
    ("trace_id_high", pa.uint64()),
    ("trace_id_low", pa.uint64()),
    ("span_id", pa.uint64()),
    ("parent_span_id", pa.uint64()),
    ("trace_state", pa.string()),
    ("flags", pa.uint32()),
    ("name", pa.string()),
    ("kind", pa.uint8()),
    ("start_time_unix_nano", pa.int64()),
    ("end_time_unix_nano", pa.int64()),
    ("status_code", pa.uint8()),
    ("status_message", pa.string()),
    ("dropped_attributes_count", pa.uint32()),
    ("dropped_events_count", pa.uint32()),
    ("dropped_links_count", pa.uint32()),
]
"""Columns that are the same in compact and in public form. `parent_span_id` 0 means: no parent."""

COMPACT_SPANS: Final = pa.schema(
    [
        *SPAN_CORE,
        ("resource_id", pa.uint32()),
        ("scope_id", pa.uint32()),
        ("attribute_ids", ATTRIBUTE_IDS),
        ("events", pa.list_(COMPACT_EVENT)),
        ("links", pa.list_(COMPACT_LINK)),
    ],
)
"""A batch's spans; resource_id, scope_id and attribute_ids are positions in the batch's own dictionaries."""

LOG_CORE: Final[list[tuple[str, pa.DataType]]] = [
    ("time_unix_nano", pa.int64()),
    ("observed_time_unix_nano", pa.int64()),
    ("severity_number", pa.uint8()),
    ("severity_text", pa.string()),
    ("event_name", pa.string()),
    ("body_type", pa.uint8()),
    ("body", pa.string()),
    ("trace_id_high", pa.uint64()),
    ("trace_id_low", pa.uint64()),
    ("span_id", pa.uint64()),
    ("flags", pa.uint32()),
    ("dropped_attributes_count", pa.uint32()),
]
"""A log record; trace id and span id are 0 where absent or invalid (stored, not associated)."""

COMPACT_LOGS: Final = pa.schema(
    [*LOG_CORE, ("resource_id", pa.uint32()), ("scope_id", pa.uint32()), ("attribute_ids", ATTRIBUTE_IDS)],
)

TYPED_ATTRIBUTES: Final[dict[str, tuple[str, ...]]] = {
    "peer_service": ("service.peer.name", "peer.service"),
    "server_address": ("server.address", "net.peer.name", "http.host", "net.host.name"),
    "server_port": ("server.port", "net.peer.port"),
    "network_peer_address": ("network.peer.address", "net.sock.peer.addr", "net.peer.ip"),
    "network_peer_port": ("network.peer.port", "net.sock.peer.port"),
    "client_address": ("client.address", "http.client_ip"),
    "user_agent": ("user_agent.original", "http.user_agent"),
    "http_request_method": ("http.request.method", "http.method"),
    "http_route": ("http.route",),
    "url_path": ("url.path", "http.target"),
    "url_full": ("url.full", "http.url"),
    "http_response_status_code": ("http.response.status_code", "http.status_code"),
    "rpc_system": ("rpc.system.name", "rpc.system"),
    "rpc_service": ("rpc.service",),
    "rpc_method": ("rpc.method",),
    "rpc_status_code": ("rpc.response.status_code", "rpc.grpc.status_code"),
    "error_type": ("error.type", "exception.type"),
    "db_system": ("db.system.name", "db.system"),
    "db_namespace": ("db.namespace",),
    "db_name": ("db.name",),
    "messaging_system": ("messaging.system",),
    "messaging_destination": ("messaging.destination.name", "messaging.destination"),
    "messaging_operation": ("messaging.operation.type", "messaging.operation"),
    "messaging_message_id": ("messaging.message.id", "messaging.message_id"),
    "messaging_consumer_group": ("messaging.consumer.group.name", "messaging.kafka.consumer.group", "messaging.kafka.consumer_group"),
    "messaging_partition": ("messaging.destination.partition.id", "messaging.kafka.destination.partition", "messaging.kafka.partition"),
    "messaging_offset": ("messaging.kafka.offset", "messaging.kafka.message.offset"),
    "messaging_batch_message_count": ("messaging.batch.message_count",),
    "correlation_id": (
        "http.request.header.x-request-id",
        "http.request.header.x_request_id",
        "http.request.header.x-correlation-id",
        "http.request.header.x_correlation_id",
        "guid:x-request-id",
        "messaging.message.conversation_id",
        "messaging.conversation_id",
        "request.id",
        "request_id",
        "requestId",
        "correlation.id",
        "correlation_id",
        "correlationId",
    ),
}
"""Attributes that detectors read, as columns of their own: column name to spellings, the newest first. (`correlation_id`, the id of a whole request,
has no standard name: captured headers, as Envoy and the conventions of messaging write it, then what applications call it.)

The first spelling present wins; old names: semantic-conventions' migration guides for HTTP, database and messaging.
All are text; detectors cast what they count.
"""

EVENT: Final = pa.struct(
    [
        ("time_unix_nano", pa.int64()),
        ("name", pa.string()),
        ("attributes", pa.list_(ATTRIBUTE)),
        ("dropped_attributes_count", pa.uint32()),
    ],
)
LINK: Final = pa.struct(
    [
        ("trace_id_high", pa.uint64()),
        ("trace_id_low", pa.uint64()),
        ("span_id", pa.uint64()),
        ("trace_state", pa.string()),
        ("flags", pa.uint32()),
        ("attributes", pa.list_(ATTRIBUTE)),
        ("dropped_attributes_count", pa.uint32()),
    ],
)
ORIGIN: Final[list[tuple[str, pa.DataType]]] = [
    ("service_namespace", pa.string()),
    ("service_name", pa.string()),
    ("service_version", pa.string()),
    ("service_instance_id", pa.string()),
    ("host", pa.string()),
    ("telemetry_sdk_language", pa.string()),
    ("deployment_environment_name", pa.string()),
    ("resource_attributes", pa.string()),
    ("resource_dropped_attributes_count", pa.uint32()),
    ("resource_schema_url", pa.string()),
    ("scope_name", pa.string()),
    ("scope_version", pa.string()),
    ("scope_attributes", pa.string()),
    ("scope_dropped_attributes_count", pa.uint32()),
    ("scope_schema_url", pa.string()),
]
"""Resource and scope, repeated on each row; `*_attributes` are OTLP/JSON arrays of KeyValue as text."""

SPANS: Final = pa.schema(
    [
        *SPAN_CORE,
        *ORIGIN,
        *((name, pa.string()) for name in TYPED_ATTRIBUTES),
        ("attributes", pa.list_(ATTRIBUTE)),
        ("message_attributes", pa.list_(ATTRIBUTE)),
        ("events", pa.list_(EVENT)),
        ("links", pa.list_(LINK)),
        ("arrival_time_unix_nano", pa.int64()),
    ],
)
"""One row a span: the schema of `spans-*.parquet` and of everything that reads spans.

`message_attributes`: those of the attributes that say something of a message (`traced.store.message_keys`), null where there are none, as of most spans:
the analysis reads them of every span, and `attributes` of none.
"""

LOGS: Final = pa.schema([*LOG_CORE, *ORIGIN, ("attributes", pa.list_(ATTRIBUTE)), ("arrival_time_unix_nano", pa.int64())])
"""One row a log record: the schema of `logs-*.parquet`."""

REPEATS: Final = pa.schema(
    [
        ("trace_id_high", pa.uint64()),
        ("trace_id_low", pa.uint64()),
        ("span_id", pa.uint64()),
        ("kind", pa.uint8()),
        ("service_namespace", pa.string()),
        ("service_name", pa.string()),
        ("service_instance_id", pa.string()),
        ("name", pa.string()),
        ("start_time_unix_nano", pa.int64()),
        ("end_time_unix_nano", pa.int64()),
        ("conflicting", pa.bool_()),
        ("arrival_time_unix_nano", pa.int64()),
    ],
)
"""One row for each span that came again and was not stored again: the schema of `repeats-*.parquet`.

`conflicting`: it differs from the stored one in name, parent, start, end or status.
"""
