-- The spans that arrived in a window, with names resolved: what one analysis pass reads of the store.
-- params: since BIGINT, until BIGINT
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, parent_span_id UBIGINT, trace_state VARCHAR, flags UINTEGER, name VARCHAR, kind UTINYINT, start_time_unix_nano BIGINT, end_time_unix_nano BIGINT, status_code UTINYINT, dropped_links_count UINTEGER, service_namespace VARCHAR, service_name VARCHAR, service_version VARCHAR, service_instance_id VARCHAR, host VARCHAR, telemetry_sdk_language VARCHAR, deployment_environment_name VARCHAR, peer_name VARCHAR, database_name VARCHAR, server_address VARCHAR, messaging_system VARCHAR, messaging_destination VARCHAR, messaging_operation VARCHAR, response_status VARCHAR, error_type VARCHAR, client_address VARCHAR, user_agent VARCHAR, http_request_method VARCHAR, http_route VARCHAR, url_path VARCHAR, url_full VARCHAR, rpc_service VARCHAR, rpc_method VARCHAR, messaging_message_id VARCHAR, correlation_id VARCHAR, message_attributes STRUCT("key" VARCHAR, "type" UTINYINT, "value" VARCHAR)[], links STRUCT(trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, flags UINTEGER, attributes STRUCT("key" VARCHAR, "type" UTINYINT, "value" VARCHAR)[])[], arrival_time_unix_nano BIGINT
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
    coalesce(service_namespace, '') AS service_namespace,
    coalesce(service_name, '') AS service_name,
    service_version,
    coalesce(service_instance_id, '') AS service_instance_id,
    coalesce(host, '') AS host,
    coalesce(telemetry_sdk_language, '') AS telemetry_sdk_language,
    coalesce(deployment_environment_name, '') AS deployment_environment_name,
    -- whom a caller names: the alias a person gave, else the address (of a SERVER, or who may be one, the address is its own)
    coalesce(peer_service, CASE WHEN kind IN (3, 4) THEN server_address END, '') AS peer_name,
    CASE
        WHEN coalesce(db_system, db_namespace, db_name) IS NULL THEN ''
        ELSE coalesce(
            peer_service,
            server_address,
            network_peer_address || coalesce(':' || network_peer_port, ''),
            db_namespace,
            db_name,
            db_system,
            ''
        )
    END AS database_name,
    coalesce(server_address, '') AS server_address,
    coalesce(messaging_system, '') AS messaging_system,
    coalesce(messaging_destination, '') AS messaging_destination,
    coalesce(messaging_operation, '') AS messaging_operation,
    coalesce(http_response_status_code, rpc_status_code, '') AS response_status,
    coalesce(error_type, '') AS error_type,
    -- read of few spans only, so the absent ones stay null
    client_address,
    user_agent,
    http_request_method,
    http_route,
    url_path,
    url_full,
    rpc_service,
    rpc_method,
    -- which message it is: its id, else its place in a log
    coalesce(messaging_message_id, messaging_partition || '/' || messaging_offset) AS messaging_message_id,
    -- a captured header is an array of one
    trim(correlation_id, '[]"') AS correlation_id,
    message_attributes,
    links,
    arrival_time_unix_nano
FROM window_spans
WHERE arrival_time_unix_nano > $since AND arrival_time_unix_nano <= $until
