-- Which flows do rows of messages make? (For the minute at which the log is cut where the analysis begins anew.)
-- params: since bigint, until bigint
-- returns: minute bigint, role varchar, environment varchar, service_namespace varchar, service_name varchar,
--   consumer_group varchar, system varchar, destination varchar, dead_letter boolean, producer_namespace varchar,
--   producer_name varchar, producer_destination varchar, joined_by varchar, message_schema_version varchar,
--   version_source varchar, version_key varchar, disposition varchar, probability double, error boolean,
--   replayed boolean, tombstone boolean, messages bigint, traces bigint, at_least bigint, delays bigint,
--   delay_sum_seconds double, delay_buckets bigint[], first_time_unix_nano bigint, last_time_unix_nano bigint,
--   trace_id_high ubigint, trace_id_low ubigint, span_id ubigint

SELECT
    arrival_time_unix_nano // 60000000000 AS "minute",
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
    count(*) FILTER (first_of_its_trace) AS traces,
    count(*) FILTER (at_least) AS at_least,
    count(*) FILTER (delay_nano >= 0 AND messages > 0) AS delays,
    coalesce(sum(delay_nano) FILTER (delay_nano >= 0 AND messages > 0) / 1e9, 0) AS delay_sum_seconds,
    [
        count(*) FILTER (messages > 0 AND delay_nano >= 0 AND delay_nano <= 5000000),
        count(*) FILTER (messages > 0 AND delay_nano > 5000000 AND delay_nano <= 25000000),
        count(*) FILTER (messages > 0 AND delay_nano > 25000000 AND delay_nano <= 100000000),
        count(*) FILTER (messages > 0 AND delay_nano > 100000000 AND delay_nano <= 500000000),
        count(*) FILTER (messages > 0 AND delay_nano > 500000000 AND delay_nano <= 1000000000),
        count(*) FILTER (messages > 0 AND delay_nano > 1000000000 AND delay_nano <= 5000000000),
        count(*) FILTER (messages > 0 AND delay_nano > 5000000000 AND delay_nano <= 15000000000),
        count(*) FILTER (messages > 0 AND delay_nano > 15000000000 AND delay_nano <= 60000000000),
        count(*) FILTER (messages > 0 AND delay_nano > 60000000000 AND delay_nano <= 300000000000),
        count(*) FILTER (messages > 0 AND delay_nano > 300000000000 AND delay_nano <= 1800000000000),
        count(*) FILTER (messages > 0 AND delay_nano > 1800000000000 AND delay_nano <= 7200000000000),
        count(*) FILTER (messages > 0 AND delay_nano > 7200000000000 AND delay_nano <= 86400000000000),
        count(*) FILTER (messages > 0 AND delay_nano > 86400000000000)
    ] AS delay_buckets,
    min(time_unix_nano) AS first_time_unix_nano,
    max(time_unix_nano) AS last_time_unix_nano,
    arg_max(trace_id_high, time_unix_nano) AS trace_id_high,
    arg_max(trace_id_low, time_unix_nano) AS trace_id_low,
    arg_max(span_id, time_unix_nano) AS span_id
FROM (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY
                trace_id_high,
                trace_id_low,
                role,
                environment,
                service_namespace,
                service_name,
                consumer_group,
                destination,
                message_schema_version
            ORDER BY messages > 0 DESC, time_unix_nano, trace_id_high, trace_id_low, span_id, link_position
        ) = 1 AS first_of_its_trace
    FROM logged_messages
    WHERE arrival_time_unix_nano BETWEEN $since AND $until
)
GROUP BY ALL
HAVING sum(messages) <> 0 OR count(*) FILTER (first_of_its_trace OR at_least) > 0
ORDER BY "minute"
