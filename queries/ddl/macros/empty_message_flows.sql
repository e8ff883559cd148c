-- What columns has a row of message flows, when there is none yet? (The schema of the message log's files, as a relation.)
-- params: none
-- returns: none

-- A file written before a column existed lacks it; UNION ALL BY NAME with this gives it back as NULL.
CREATE MACRO empty_message_flows() AS TABLE
SELECT unnest(NULL::STRUCT(
    "minute" BIGINT,
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
    messages BIGINT,
    traces BIGINT,
    at_least BIGINT,
    delays BIGINT,
    delay_sum_seconds DOUBLE,
    delay_buckets BIGINT[],
    first_time_unix_nano BIGINT,
    last_time_unix_nano BIGINT,
    trace_id_high UBIGINT,
    trace_id_low UBIGINT,
    span_id UBIGINT
))
WHERE false
