-- What identifies each span of a segment, for the memory of recent spans?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, kind UTINYINT, resource_id UINTEGER
SELECT trace_id_high, trace_id_low, span_id, kind, resource_id
FROM span
