-- How did each producer publish the old and the new schema: both in a trace, or one of them?
-- And by business key, whatever the trace? An empty list takes everything; `destinations` are those of both. Where a
-- publication failed, or is of an unknown version, or there may have been more of them, its trace and its key count for both
-- or not at all: what is missing there may have been sent.
-- params: since bigint, until bigint, destinations varchar[], old_destinations varchar[], old_systems varchar[],
--   old_versions varchar[], new_destinations varchar[], new_systems varchar[], new_versions varchar[],
--   environments varchar[]
-- returns: environment varchar, service_namespace varchar, service_name varchar, traces_old_only bigint,
--   traces_both bigint, traces_new_only bigint, keys_old_only bigint, keys_both bigint, keys_new_only bigint,
--   old_messages bigint, new_messages bigint, failed_messages bigint, old_only_trace_id_high ubigint,
--   old_only_trace_id_low ubigint, new_only_trace_id_high ubigint, new_only_trace_id_low ubigint

WITH published AS (
    SELECT
        *,
        is_wanted($old_destinations, destination) AND is_wanted($old_systems, system) AS on_old,
        is_wanted($new_destinations, destination) AND is_wanted($new_systems, system) AS on_new,
        is_wanted($old_versions, message_schema_version) AS says_old,
        is_wanted($new_versions, message_schema_version) AS says_new,
        message_schema_version = '' AND NOT tombstone AS says_nothing
    FROM logged_messages
    WHERE role = 'producer'
        AND is_wanted($destinations, destination)
        AND NOT replayed
        AND NOT dead_letter
        AND arrival_time_unix_nano >= $since
        AND arrival_time_unix_nano < $until
        AND is_wanted($environments, environment)
),
sides AS MATERIALIZED (
    SELECT
        environment,
        service_namespace,
        service_name,
        trace_id_high,
        trace_id_low,
        CASE WHEN identity_kind = 'business_key' THEN identity END AS business_key,
        arrival_time_unix_nano AS arrived,
        CASE WHEN on_old AND says_old THEN messages ELSE 0 END AS old,
        CASE WHEN on_new AND says_new THEN messages ELSE 0 END AS new,
        NOT (on_old AND says_old OR on_new AND says_new) OR error OR at_least AS unsure,
        error
    FROM published
    WHERE on_old AND (says_old OR says_nothing)
        OR on_new AND (says_new OR says_nothing)
),
by_trace AS (
    SELECT
        environment,
        service_namespace,
        service_name,
        trace_id_high,
        trace_id_low,
        coalesce(sum(old) FILTER (NOT error), 0) AS old,
        coalesce(sum(new) FILTER (NOT error), 0) AS new,
        coalesce(sum(old + new) FILTER (error), 0) AS failed,
        bool_or(unsure) AS unsure,
        max(arrived) AS arrived
    FROM sides
    GROUP BY environment, service_namespace, service_name, trace_id_high, trace_id_low
),
by_key AS (
    SELECT
        environment,
        service_namespace,
        service_name,
        coalesce(sum(old) FILTER (NOT error), 0) > 0 AS old,
        coalesce(sum(new) FILTER (NOT error), 0) > 0 AS new,
        bool_or(unsure) AS unsure
    FROM sides
    WHERE business_key IS NOT NULL
    GROUP BY environment, service_namespace, service_name, business_key
),
keys AS (
    SELECT
        environment,
        service_namespace,
        service_name,
        count(*) FILTER (old AND NOT new AND NOT unsure) AS keys_old_only,
        count(*) FILTER (old AND new) AS keys_both,
        count(*) FILTER (new AND NOT old AND NOT unsure) AS keys_new_only
    FROM by_key
    GROUP BY environment, service_namespace, service_name
),
traces AS (
    SELECT
        environment,
        service_namespace,
        service_name,
        count(*) FILTER (old > 0 AND new <= 0 AND NOT unsure) AS traces_old_only,
        count(*) FILTER (old > 0 AND new > 0) AS traces_both,
        count(*) FILTER (new > 0 AND old <= 0 AND NOT unsure) AS traces_new_only,
        CAST(sum(old) AS BIGINT) AS old_messages,
        CAST(sum(new) AS BIGINT) AS new_messages,
        CAST(sum(failed) AS BIGINT) AS failed_messages,
        arg_max([trace_id_high, trace_id_low], arrived) FILTER (old > 0 AND new <= 0 AND NOT unsure) AS old_only,
        arg_max([trace_id_high, trace_id_low], arrived) FILTER (new > 0 AND old <= 0 AND NOT unsure) AS new_only
    FROM by_trace
    GROUP BY environment, service_namespace, service_name
    HAVING sum(old) > 0 OR sum(new) > 0 OR sum(failed) > 0
)
SELECT
    environment,
    service_namespace,
    service_name,
    traces_old_only,
    traces_both,
    traces_new_only,
    coalesce(keys_old_only, 0) AS keys_old_only,
    coalesce(keys_both, 0) AS keys_both,
    coalesce(keys_new_only, 0) AS keys_new_only,
    old_messages,
    new_messages,
    failed_messages,
    coalesce(old_only[1], 0) AS old_only_trace_id_high,
    coalesce(old_only[2], 0) AS old_only_trace_id_low,
    coalesce(new_only[1], 0) AS new_only_trace_id_high,
    coalesce(new_only[2], 0) AS new_only_trace_id_low
FROM traces
LEFT JOIN keys USING (environment, service_namespace, service_name)
ORDER BY environment, service_namespace, service_name
