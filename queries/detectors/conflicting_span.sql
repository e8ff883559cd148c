-- Which span ids stand for two different spans on the same side of one trace?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, service VARCHAR, other_service VARCHAR, signal_name VARCHAR, time_unix_nano BIGINT, repeats BIGINT, of_the_sender BOOLEAN
-- driven by: pass_repeats, pass_twins
WITH conflicts AS (
    SELECT
        trace_id_high,
        trace_id_low,
        span_id,
        service_name AS service,
        service_name AS other_service,
        name,
        start_time_unix_nano,
        has_sender AND name = stored_name AS of_the_sender
    FROM pass_repeats
    WHERE
        conflicting
        -- sent again with a later end: a span that was exported while it ran
        AND NOT coalesce(
            stored_name = name
            AND stored_start_time_unix_nano = start_time_unix_nano
            AND stored_end_time_unix_nano < end_time_unix_nano,
            false
        )
    UNION ALL
    SELECT trace_id_high, trace_id_low, span_id, service_name, first_service_name, name, start_time_unix_nano, has_sender AND name = first_name
    FROM pass_twins
    WHERE NOT same
)
SELECT
    trace_id_high,
    trace_id_low,
    span_id,
    min(service) AS service,
    min(other_service) AS other_service,
    min(name) AS signal_name,
    min(start_time_unix_nano) AS time_unix_nano,
    count(*) AS repeats,
    -- all of them received under the id of one sending span, and did the same
    bool_and(coalesce(of_the_sender, false)) AS of_the_sender
FROM conflicts
GROUP BY trace_id_high, trace_id_low, span_id
