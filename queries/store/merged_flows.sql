-- How many messages of each kind were there in each minute, of several files of flows?
-- What adds up to nothing is left out: it says nothing any more.
-- params: files varchar[]
-- returns: minute bigint, role varchar, environment varchar, service_namespace varchar, service_name varchar,
--   consumer_group varchar, system varchar, destination varchar, dead_letter boolean, producer_namespace varchar,
--   producer_name varchar, producer_destination varchar, joined_by varchar, message_schema_version varchar,
--   version_source varchar, version_key varchar, disposition varchar, probability double, error boolean,
--   replayed boolean, tombstone boolean, messages bigint, traces bigint, at_least bigint, delays bigint,
--   delay_sum_seconds double, delay_buckets bigint[], first_time_unix_nano bigint, last_time_unix_nano bigint,
--   trace_id_high ubigint, trace_id_low ubigint, span_id ubigint

SELECT
    "minute",
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
    CAST(sum(messages) AS BIGINT) AS messages,
    CAST(sum(traces) AS BIGINT) AS traces,
    CAST(sum(at_least) AS BIGINT) AS at_least,
    CAST(sum(delays) AS BIGINT) AS delays,
    sum(delay_sum_seconds) AS delay_sum_seconds,
    -- element by element: to take the lists apart and to put them together again is far dearer
    CAST([
        coalesce(sum(delay_buckets[1]), 0),
        coalesce(sum(delay_buckets[2]), 0),
        coalesce(sum(delay_buckets[3]), 0),
        coalesce(sum(delay_buckets[4]), 0),
        coalesce(sum(delay_buckets[5]), 0),
        coalesce(sum(delay_buckets[6]), 0),
        coalesce(sum(delay_buckets[7]), 0),
        coalesce(sum(delay_buckets[8]), 0),
        coalesce(sum(delay_buckets[9]), 0),
        coalesce(sum(delay_buckets[10]), 0),
        coalesce(sum(delay_buckets[11]), 0),
        coalesce(sum(delay_buckets[12]), 0),
        coalesce(sum(delay_buckets[13]), 0)
    ] AS BIGINT[]) AS delay_buckets,
    min(first_time_unix_nano) AS first_time_unix_nano,
    max(last_time_unix_nano) AS last_time_unix_nano,
    -- an example that was not taken back, where there is one: the latest
    arg_max(trace_id_high, last_time_unix_nano) FILTER (messages > 0) AS trace_id_high,
    arg_max(trace_id_low, last_time_unix_nano) FILTER (messages > 0) AS trace_id_low,
    arg_max(span_id, last_time_unix_nano) FILTER (messages > 0) AS span_id
FROM (
    FROM flows_tail  -- has every column, and no row here: an older file may lack some
    UNION ALL BY NAME
    FROM read_parquet($files, union_by_name => true)
)
GROUP BY ALL
HAVING sum(messages) <> 0 OR sum(traces) <> 0 OR sum(delays) <> 0 OR sum(at_least) <> 0
ORDER BY "minute"
