-- Which operations lack a child that they used to have, or that others of their kind have?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, service VARCHAR, signal_name VARCHAR, time_unix_nano BIGINT, child_name VARCHAR, cause VARCHAR, instance VARCHAR, version VARCHAR, own BOOLEAN, spans_before BIGINT, having_before BIGINT, spans_now BIGINT, having_now BIGINT, spans_of_others BIGINT, having_of_others BIGINT, chance DOUBLE, time VARCHAR
-- driven by: pass_shifts
SELECT *
FROM pass_shifts
