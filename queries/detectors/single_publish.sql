-- Of services that publish both schemas, in how many traces (or by how many business keys) did both go out, and where did one go out alone?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, service VARCHAR, signal_name VARCHAR, time_unix_nano BIGINT, migration VARCHAR, destination VARCHAR, sent VARCHAR, business_key VARCHAR, instance VARCHAR, together BIGINT, alone BIGINT
-- driven by: pass_migrating
WITH sent AS (
    SELECT
        *,
        CASE WHEN identity_kind = 'business_key' THEN identity ELSE '' END AS business_key,
        -- without a key, what one trace sends belongs together
        CASE WHEN identity_kind = 'business_key' THEN identity ELSE concat(trace_id_high, '-', trace_id_low) END AS unit
    FROM pass_migrating
    WHERE
        role = 'producer'
        AND shape <> 'one_message'
        AND NOT dead_letter
        AND NOT replayed
        AND NOT tombstone
),
units AS (
    SELECT
        migration,
        service_namespace,
        service_name,
        unit,
        bool_or(side = 'old') AS old,
        bool_or(side = 'new') AS new,
        -- what failed, may be more, or is of no known version may have been the other half
        bool_or(error OR at_least OR side = 'unknown') AS doubtful
    FROM sent
    GROUP BY ALL
),
services AS (
    SELECT
        migration,
        service_namespace,
        service_name,
        count(*) FILTER (WHERE old AND new) AS together,
        count(*) FILTER (WHERE old <> new AND NOT doubtful) AS alone
    FROM units
    GROUP BY ALL
)
SELECT
    s.trace_id_high,
    s.trace_id_low,
    s.span_id,
    min(s.service_name) AS service,
    min(s.name) AS signal_name,
    min(s.time_unix_nano) AS time_unix_nano,
    min(s.migration) AS migration,
    min(s.destination) AS destination,
    min(s.side) AS sent,
    min(s.business_key) AS business_key,
    min(s.service_instance_id) AS instance,
    max(v.together) AS together,
    max(v.alone) AS alone
FROM sent s
JOIN units u USING (migration, service_namespace, service_name, unit)
JOIN services v USING (migration, service_namespace, service_name)
WHERE
    u.old <> u.new
    AND NOT u.doubtful
    -- the other half may be among the spans that are absent
    AND s.complete
    -- a service whose two schemas go out in different traces, as through an outbox, has hardly a trace with both
    AND v.together >= 3 * v.alone
    AND v.together >= 5
GROUP BY s.trace_id_high, s.trace_id_low, s.span_id
