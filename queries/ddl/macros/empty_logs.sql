-- What columns has a stored log record, when there is none yet? (The public schema of sealed files, as a relation.)
-- params: none
-- returns: none

-- A file written before a column existed lacks it; UNION ALL BY NAME with this gives it back as NULL.
CREATE MACRO empty_logs() AS TABLE
SELECT unnest(NULL::STRUCT(
    time_unix_nano BIGINT,
    observed_time_unix_nano BIGINT,
    severity_number UTINYINT,
    severity_text VARCHAR,
    event_name VARCHAR,
    body_type UTINYINT,
    body VARCHAR,
    trace_id_high UBIGINT,
    trace_id_low UBIGINT,
    span_id UBIGINT,
    flags UINTEGER,
    dropped_attributes_count UINTEGER,
    service_namespace VARCHAR,
    service_name VARCHAR,
    service_version VARCHAR,
    service_instance_id VARCHAR,
    host VARCHAR,
    telemetry_sdk_language VARCHAR,
    deployment_environment_name VARCHAR,
    resource_attributes VARCHAR,
    resource_dropped_attributes_count UINTEGER,
    resource_schema_url VARCHAR,
    scope_name VARCHAR,
    scope_version VARCHAR,
    scope_attributes VARCHAR,
    scope_dropped_attributes_count UINTEGER,
    scope_schema_url VARCHAR,
    attributes STRUCT("key" VARCHAR, "type" UTINYINT, "value" VARCHAR)[],
    arrival_time_unix_nano BIGINT
))
WHERE false
