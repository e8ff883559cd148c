-- Which spans came again with the same content, and what share of their instance's spans is that?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, service VARCHAR, instance VARCHAR, signal_name VARCHAR, time_unix_nano BIGINT, repeats BIGINT, instance_spans BIGINT, instance_repeats BIGINT
-- driven by: pass_repeats, pass_twins
WITH repeated AS (
    SELECT
        trace_id_high,
        trace_id_low,
        span_id,
        service_name AS service,
        coalesce(service_instance_id, '') AS instance,
        name,
        start_time_unix_nano
    FROM pass_repeats
    WHERE NOT conflicting
    UNION ALL
    SELECT trace_id_high, trace_id_low, span_id, service_name, service_instance_id, name, start_time_unix_nano
    FROM pass_twins
    WHERE same
)
SELECT
    r.trace_id_high,
    r.trace_id_low,
    r.span_id,
    min(r.service) AS service,
    min(r.instance) AS instance,
    min(r.name) AS signal_name,
    min(r.start_time_unix_nano) AS time_unix_nano,
    count(*) AS repeats,
    coalesce(any_value(h.spans), 0)::BIGINT AS instance_spans,
    coalesce(any_value(h.repeats), 0)::BIGINT AS instance_repeats
FROM repeated r
LEFT JOIN instance_history h ON h.service = r.service AND h.instance = r.instance
GROUP BY r.trace_id_high, r.trace_id_low, r.span_id
