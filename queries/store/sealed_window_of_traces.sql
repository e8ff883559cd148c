-- Which sealed spans of some traces arrived in a window?
-- params: files VARCHAR[], since BIGINT, until BIGINT
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, parent_span_id UBIGINT, trace_state VARCHAR, flags UINTEGER, name VARCHAR, kind UTINYINT,
--   start_time_unix_nano BIGINT,
--   end_time_unix_nano BIGINT, status_code UTINYINT, dropped_links_count UINTEGER,
--   service_namespace VARCHAR, service_name VARCHAR, service_version VARCHAR, service_instance_id VARCHAR, host VARCHAR, telemetry_sdk_language VARCHAR, deployment_environment_name VARCHAR,
--   peer_service VARCHAR, server_address VARCHAR, network_peer_address VARCHAR, network_peer_port VARCHAR, db_system VARCHAR, db_namespace VARCHAR,
--   db_name VARCHAR, messaging_system VARCHAR, messaging_destination VARCHAR, messaging_operation VARCHAR, http_response_status_code VARCHAR,
--   rpc_status_code VARCHAR, error_type VARCHAR, client_address VARCHAR, user_agent VARCHAR, http_request_method VARCHAR, http_route VARCHAR,
--   url_path VARCHAR, url_full VARCHAR, rpc_service VARCHAR, rpc_method VARCHAR, messaging_message_id VARCHAR, messaging_partition VARCHAR, messaging_offset VARCHAR, correlation_id VARCHAR,
--   message_attributes STRUCT("key" VARCHAR, "type" UTINYINT, "value" VARCHAR)[],
--   links STRUCT(trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, flags UINTEGER, attributes STRUCT("key" VARCHAR, "type" UTINYINT, "value" VARCHAR)[])[], arrival_time_unix_nano BIGINT
SELECT
    trace_id_high,
    trace_id_low,
    span_id,
    parent_span_id,
    trace_state,
    flags,
    name,
    kind,
    start_time_unix_nano,
    end_time_unix_nano,
    status_code,
    dropped_links_count,
    service_namespace,
    service_name,
    service_version,
    service_instance_id,
    host,
    telemetry_sdk_language,
    deployment_environment_name,
    peer_service,
    server_address,
    network_peer_address,
    network_peer_port,
    db_system,
    db_namespace,
    db_name,
    messaging_system,
    messaging_destination,
    messaging_operation,
    http_response_status_code,
    rpc_status_code,
    error_type,
    client_address,
    user_agent,
    http_request_method,
    http_route,
    url_path,
    url_full,
    rpc_service,
    rpc_method,
    messaging_message_id,
    messaging_partition,
    messaging_offset,
    correlation_id,
    message_attributes,
    list_transform(
        links,
        lambda l: {
            'trace_id_high': l.trace_id_high, 'trace_id_low': l.trace_id_low, 'span_id': l.span_id, 'flags': l.flags, 'attributes': l.attributes
        }
    ) AS links,
    arrival_time_unix_nano
FROM read_parquet($files, union_by_name => true) s
WHERE
    arrival_time_unix_nano > $since AND arrival_time_unix_nano <= $until
    AND EXISTS (SELECT 1 FROM wanted w WHERE w.trace_id_high = s.trace_id_high AND w.trace_id_low = s.trace_id_low)
