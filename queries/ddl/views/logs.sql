-- Which log records are stored? (One row a log record; what users' own SQL reads.)
-- params: none
-- returns: time_unix_nano bigint, observed_time_unix_nano bigint, time timestamp_ns, observed_time timestamp_ns,
--   severity_number utinyint, severity_text varchar, event_name varchar, body varchar, body_type utinyint,
--   trace_id varchar, span_id varchar, flags uinteger, attributes map(varchar, varchar),
--   dropped_attributes_count uinteger, service_name varchar, service_namespace varchar, service_version varchar,
--   service_instance_id varchar, host varchar, telemetry_sdk_language varchar, deployment_environment_name varchar, resource_attributes map(varchar, varchar),
--   resource_dropped_attributes_count uinteger, resource_schema_url varchar, scope_name varchar, scope_version varchar,
--   scope_attributes map(varchar, varchar), scope_dropped_attributes_count uinteger, scope_schema_url varchar,
--   arrival_time_unix_nano bigint, arrival_time timestamp_ns

CREATE VIEW logs AS
SELECT
    time_unix_nano,
    observed_time_unix_nano,
    readable_time(nullif(time_unix_nano, 0)) AS time,  -- OTLP: 0 means unknown
    readable_time(nullif(observed_time_unix_nano, 0)) AS observed_time,
    severity_number,
    severity_text,
    event_name,
    body,
    body_type,  -- the member of AnyValue that `body` was: 1 string … 5 array and 6 map (as JSON), 7 bytes (as base64)
    trace_id_hex(trace_id_high, trace_id_low) AS trace_id,  -- NULL: belongs to no trace
    span_id_hex(span_id) AS span_id,
    flags,
    attribute_map(attributes) AS attributes,
    dropped_attributes_count,
    coalesce(nullif(service_name, ''), 'unknown_service') AS service_name,
    service_namespace,
    service_version,
    service_instance_id,
    host,
    telemetry_sdk_language,
    deployment_environment_name,
    origin_map(resource_attributes) AS resource_attributes,
    resource_dropped_attributes_count,
    resource_schema_url,
    scope_name,
    scope_version,
    origin_map(scope_attributes) AS scope_attributes,
    scope_dropped_attributes_count,
    scope_schema_url,
    arrival_time_unix_nano,
    readable_time(arrival_time_unix_nano) AS arrival_time
FROM stored_logs
