"""What columns the reads of hot and sealed rows give."""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from traced.model.schema import ATTRIBUTE, SPANS

WINDOW_CORE: Final = (
    "trace_id_high",
    "trace_id_low",
    "span_id",
    "parent_span_id",
    "trace_state",
    "flags",
    "name",
    "kind",
    "start_time_unix_nano",
    "end_time_unix_nano",
    "status_code",
    "dropped_links_count",
)
WINDOW_ORIGIN: Final = (
    "service_namespace",
    "service_name",
    "service_version",
    "service_instance_id",
    "host",
    "telemetry_sdk_language",
    "deployment_environment_name",
)
WINDOW_TYPED: Final = (
    "peer_service",
    "server_address",
    "network_peer_address",
    "network_peer_port",
    "db_system",
    "db_namespace",
    "db_name",
    "messaging_system",
    "messaging_destination",
    "messaging_operation",
    "http_response_status_code",
    "rpc_status_code",
    "error_type",
    "client_address",
    "user_agent",
    "http_request_method",
    "http_route",
    "url_path",
    "url_full",
    "rpc_service",
    "rpc_method",
    "messaging_message_id",
    "messaging_partition",
    "messaging_offset",
    "correlation_id",
)
LINK_TARGET: Final = pa.list_(
    pa.struct(
        [("trace_id_high", pa.uint64()), ("trace_id_low", pa.uint64()), ("span_id", pa.uint64()), ("flags", pa.uint32()), ("attributes", pa.list_(ATTRIBUTE))]
    )
)

WINDOW_SCHEMA: Final = pa.schema(
    [
        *((name, SPANS.field(name).type) for name in (*WINDOW_CORE, *WINDOW_ORIGIN, *WINDOW_TYPED)),
        ("message_attributes", pa.list_(ATTRIBUTE)),
        ("links", LINK_TARGET),
        ("arrival_time_unix_nano", pa.int64()),
    ],
)
"""What a window holds of each span: the columns that the staging query resolves."""

SPAN_BY_ID: Final = pa.schema(
    [
        ("trace_id_high", pa.uint64()),
        ("trace_id_low", pa.uint64()),
        ("span_id", pa.uint64()),
        ("service_name", pa.string()),
        ("service_namespace", pa.string()),
        ("kind", pa.uint8()),
        ("end_time_unix_nano", pa.int64()),
        ("name", pa.string()),
        ("message_attributes", pa.list_(ATTRIBUTE)),
    ],
)
"""What is known of spans that are not among those of a pass."""

TRACE_IDS: Final = pa.schema([("trace_id_high", pa.uint64()), ("trace_id_low", pa.uint64())])

TRACE_SIZES: Final = pa.schema([*TRACE_IDS, ("spans", pa.int64()), ("first_arrival", pa.int64())])
"""How many spans of a trace arrived in a window, and when the first did (ns)."""

IDENTITIES: Final = pa.schema(
    SPANS.field(name)
    for name in (
        "trace_id_high",
        "trace_id_low",
        "span_id",
        "kind",
        "service_namespace",
        "service_name",
        "name",
        "parent_span_id",
        "start_time_unix_nano",
        "end_time_unix_nano",
        "status_code",
    )
)
"""What identifies a span (the first six columns; a service's absent name is empty), and what a repeat of it is compared by."""
