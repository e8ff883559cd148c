-- Which entries began under what was over in their own process, and which operations did one trace enter again and again?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, service VARCHAR, signal_name VARCHAR, time_unix_nano BIGINT, kind UTINYINT, above_span_id UBIGINT, above_name VARCHAR, above_kind UTINYINT, late_nanos BIGINT, said_local BOOLEAN, instance VARCHAR, host VARCHAR, entries BIGINT, spread_nanos BIGINT, p99_nanos BIGINT
-- driven by: pass_leaks, pass_crowds
SELECT *, 0::BIGINT AS entries, 0::BIGINT AS spread_nanos, 0::BIGINT AS p99_nanos
FROM pass_leaks
UNION ALL BY NAME
SELECT *
FROM pass_crowds
