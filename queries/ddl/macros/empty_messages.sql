-- What columns has a row of messages, when there is none yet? (The schema of the message log's files, as a relation.)
-- params: none
-- returns: none

-- A file written before a column existed lacks it; UNION ALL BY NAME with this gives it back as NULL.
CREATE MACRO empty_messages() AS TABLE
SELECT unnest(NULL::STRUCT(
    role VARCHAR,
    environment VARCHAR,
    service_namespace VARCHAR,
    service_name VARCHAR,
    consumer_group VARCHAR,
    system VARCHAR,
    destination VARCHAR,
    dead_letter BOOLEAN,
    producer_namespace VARCHAR,
    producer_name VARCHAR,
    producer_destination VARCHAR,
    joined_by VARCHAR,
    message_schema_version VARCHAR,
    version_source VARCHAR,
    version_key VARCHAR,
    disposition VARCHAR,
    probability DOUBLE,
    error BOOLEAN,
    replayed BOOLEAN,
    tombstone BOOLEAN,
    trace_id_high UBIGINT,
    trace_id_low UBIGINT,
    span_id UBIGINT,
    link_position INTEGER,
    service_version VARCHAR,
    service_instance_id VARCHAR,
    name VARCHAR,
    producer_trace_id_high UBIGINT,
    producer_trace_id_low UBIGINT,
    producer_span_id UBIGINT,
    message_id VARCHAR,
    identity VARCHAR,
    identity_kind VARCHAR,
    "partition" VARCHAR,
    "offset" BIGINT,
    delivery_attempt INTEGER,
    messages BIGINT,
    at_least BOOLEAN,
    time_unix_nano BIGINT,
    delay_nano BIGINT,
    arrival_time_unix_nano BIGINT
))
WHERE false
