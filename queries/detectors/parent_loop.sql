-- Which spans are their own ancestor?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, service VARCHAR, signal_name VARCHAR, time_unix_nano BIGINT, itself BOOLEAN
-- driven by: pass_suspects
SELECT
    trace_id_high,
    trace_id_low,
    span_id,
    service_name AS service,
    name AS signal_name,
    start_time_unix_nano AS time_unix_nano,
    parent_span_id = span_id AS itself
FROM pass_suspects
WHERE looped
