-- How many messages of each kind were there in each stretch of time, without histograms of their delays? They are half the work.
-- `minute` is the first of the stretch. Corrections are added up before anything is left out. An empty list takes everything.
-- params: first_minute bigint, end_minute bigint, minutes bigint, destinations varchar[], systems varchar[],
--   versions varchar[], roles varchar[], environments varchar[], services varchar[], groups varchar[]
-- returns: minute bigint, role varchar, environment varchar, service_namespace varchar, service_name varchar,
--   consumer_group varchar, system varchar, destination varchar, dead_letter boolean, producer_namespace varchar,
--   producer_name varchar, producer_destination varchar, joined_by varchar, message_schema_version varchar,
--   version_source varchar, version_key varchar, disposition varchar, probability double, error boolean,
--   replayed boolean, tombstone boolean, messages bigint, traces bigint, at_least bigint, delays bigint,
--   delay_sum_seconds double, first_time_unix_nano bigint, last_time_unix_nano bigint,
--   trace_id_high ubigint, trace_id_low ubigint, span_id ubigint

SELECT
    -- the first stretch begins with the window
    greatest(CAST($first_minute AS BIGINT), flows."minute" // CAST($minutes AS BIGINT) * CAST($minutes AS BIGINT)) AS "minute",
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
    min(first_time_unix_nano) AS first_time_unix_nano,
    max(last_time_unix_nano) AS last_time_unix_nano,
    -- an example that was not taken back, where there is one: the latest
    arg_max(trace_id_high, last_time_unix_nano) FILTER (messages > 0) AS trace_id_high,
    arg_max(trace_id_low, last_time_unix_nano) FILTER (messages > 0) AS trace_id_low,
    arg_max(span_id, last_time_unix_nano) FILTER (messages > 0) AS span_id
FROM logged_flows AS flows
WHERE flows."minute" >= $first_minute
    AND flows."minute" < $end_minute
    AND is_wanted($destinations, destination)
    AND is_wanted($systems, system)
    AND is_wanted($versions, message_schema_version)
    AND is_wanted($roles, role)
    AND is_wanted($environments, environment)
    AND is_wanted($services, service_name)
    AND is_wanted($groups, consumer_group)
-- by the stretch that is selected, not by the minute of a row
GROUP BY ALL
HAVING sum(messages) > 0
ORDER BY 1, role, service_name, consumer_group, destination, message_schema_version
