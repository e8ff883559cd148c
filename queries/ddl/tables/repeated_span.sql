-- Spans that came again and were not stored again: what `duplicate_span` and `conflicting_span` read.
-- params:
-- returns:
CREATE TABLE repeated_span (
    trace_id_high UBIGINT NOT NULL,
    trace_id_low UBIGINT NOT NULL,
    span_id UBIGINT NOT NULL,
    kind UTINYINT,
    service_namespace VARCHAR,
    service_name VARCHAR,
    service_instance_id VARCHAR,
    name VARCHAR,
    start_time_unix_nano BIGINT,
    end_time_unix_nano BIGINT,
    conflicting BOOLEAN,
    arrival_time_unix_nano BIGINT NOT NULL
)
