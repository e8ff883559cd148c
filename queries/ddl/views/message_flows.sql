-- How many messages of each kind were there in each minute? (Add `messages` up before anything is concluded: some rows take back.)
-- params: none
-- returns: minute bigint, minute_time timestamp_ns, role varchar, environment varchar, service_namespace varchar,
--   service_name varchar, consumer_group varchar, system varchar, destination varchar, dead_letter boolean,
--   producer_namespace varchar, producer_name varchar, producer_destination varchar, joined_by varchar,
--   message_schema_version varchar, version_source varchar, version_key varchar, disposition varchar,
--   probability double, error boolean, replayed boolean, tombstone boolean, messages bigint, traces bigint,
--   at_least bigint, delays bigint, delay_sum_seconds double, delay_buckets bigint[], first_time_unix_nano bigint,
--   first_time timestamp_ns, last_time_unix_nano bigint, last_time timestamp_ns, trace_id varchar, span_id varchar

CREATE VIEW message_flows AS
SELECT
    "minute",  -- unix minutes, of arrival
    readable_time("minute" * 60000000000) AS minute_time,
    role,
    environment,
    service_namespace,
    service_name,
    consumer_group,
    system,
    destination,
    dead_letter,
    producer_namespace,
    producer_name,
    producer_destination,
    joined_by,
    message_schema_version,
    version_source,
    version_key,
    disposition,
    probability,
    error,
    replayed,
    tombstone,
    messages,  -- less than zero: late spans took back what is counted elsewhere
    traces,
    at_least,
    delays,
    delay_sum_seconds,
    delay_buckets,
    first_time_unix_nano,
    readable_time(first_time_unix_nano) AS first_time,
    last_time_unix_nano,
    readable_time(last_time_unix_nano) AS last_time,
    trace_id_hex(trace_id_high, trace_id_low) AS trace_id,  -- one of them
    span_id_hex(span_id) AS span_id
FROM stored_message_flows
