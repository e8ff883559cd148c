-- The log records of a hot segment.
-- params:
-- returns:
CREATE TABLE log_record (
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
    resource_id UINTEGER,
    scope_id UINTEGER,
    attribute_ids UINTEGER[],
    arrival_time_unix_nano BIGINT NOT NULL
)
