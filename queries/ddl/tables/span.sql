-- The spans of a hot segment. No key and no index: a primary key makes a 20,000-row insert five times slower at 2 million
-- rows, and replay of an index is where DuckDB's WAL faults cluster. No foreign key from child to parent: the missing
-- parent is what we look for.
-- params:
-- returns:
CREATE TABLE span (
    trace_id_high UBIGINT NOT NULL,
    trace_id_low UBIGINT NOT NULL,
    span_id UBIGINT NOT NULL,
    parent_span_id UBIGINT NOT NULL, -- 0: none
    trace_state VARCHAR,
    flags UINTEGER,
    name VARCHAR,
    kind UTINYINT,
    start_time_unix_nano BIGINT,
    end_time_unix_nano BIGINT,
    status_code UTINYINT,
    status_message VARCHAR,
    dropped_attributes_count UINTEGER,
    dropped_events_count UINTEGER,
    dropped_links_count UINTEGER,
    resource_id UINTEGER,
    scope_id UINTEGER,
    attribute_ids UINTEGER[], -- as numbers: a third of the bytes and a quarter of the time of LIST(STRUCT) in the WAL
    events STRUCT(time_unix_nano BIGINT, name VARCHAR, attribute_ids UINTEGER[], dropped_attributes_count UINTEGER)[],
    links STRUCT(trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, trace_state VARCHAR, flags UINTEGER, attribute_ids UINTEGER[], dropped_attributes_count UINTEGER)[],
    arrival_time_unix_nano BIGINT NOT NULL
)
