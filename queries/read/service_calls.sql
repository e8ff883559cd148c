-- Which service calls which, how often, how often in vain, and how long does it take? (Both sides reported.)
-- params: max_rows bigint = 1000
-- returns: client varchar, server varchar, connection_type varchar, calls bigint, errors bigint, p50_nano bigint,
--   p99_nano bigint

-- Pairs by parent only. `traced graph` also knows shared span ids, databases, links and what does not report.
-- The join runs over the stored integers: ten times cheaper than over hex text.
WITH calls AS (
    SELECT
        coalesce(nullif(parent.service_name, ''), 'unknown_service') AS client,
        coalesce(nullif(child.service_name, ''), 'unknown_service') AS server,
        CASE WHEN child.kind = 5 THEN 'messaging_system' ELSE '' END AS connection_type,
        child.status_code = 2 OR parent.status_code = 2 AS failed,
        TRY_CAST(CAST(child.end_time_unix_nano AS HUGEINT) - child.start_time_unix_nano AS BIGINT) AS duration_nano
    FROM stored_spans AS child
    JOIN stored_spans AS parent
        ON child.trace_id_high = parent.trace_id_high
        AND child.trace_id_low = parent.trace_id_low
        AND child.parent_span_id = parent.span_id
    WHERE child.parent_span_id <> 0
        AND child.span_id <> parent.span_id
        AND child.kind IN (2, 5)  -- SERVER, CONSUMER
)

SELECT
    client,
    server,
    connection_type,
    count(*) AS calls,
    count(*) FILTER (failed) AS errors,
    approx_quantile(duration_nano, 0.5) AS p50_nano,
    approx_quantile(duration_nano, 0.99) AS p99_nano
FROM calls
GROUP BY client, server, connection_type
ORDER BY calls DESC, client, server, connection_type
LIMIT $max_rows
