-- Which spans name a parent that is not in their trace?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, service VARCHAR, signal_name VARCHAR, time_unix_nano BIGINT, missing_span_id UBIGINT, kind UTINYINT, flags UINTEGER
SELECT
    trace_id_high,
    trace_id_low,
    span_id,
    service_name AS service,
    name AS signal_name,
    start_time_unix_nano AS time_unix_nano,
    parent_span_id AS missing_span_id,
    kind,
    flags
FROM pass_suspects
WHERE parent_absent
