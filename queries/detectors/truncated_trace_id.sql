-- Which traces have half of another trace's id, and which orphan of the one has its parent in the other?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, service VARCHAR, signal_name VARCHAR, time_unix_nano BIGINT, whole_trace_id_high UBIGINT, whole_trace_id_low UBIGINT, upper_half_lost BOOLEAN, orphan_span_id UBIGINT, parent_span_id UBIGINT, parent_service VARCHAR, whole_is_below BOOLEAN
-- driven by: pass_truncated
SELECT *
FROM pass_truncated
