-- In which spans does time pass that nothing explains, at a place where it often does?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, service VARCHAR, signal_name VARCHAR, time_unix_nano BIGINT, before VARCHAR, after VARCHAR, gap_nanos BIGINT, root_nanos BIGINT, traces BIGINT, hidden_nanos BIGINT, roots_nanos BIGINT, rank BIGINT, places BIGINT
-- driven by: pass_gaps
SELECT *
FROM pass_gaps
