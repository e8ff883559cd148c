-- Which services have floods of spans in one trace?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, service VARCHAR, signal_name VARCHAR, time_unix_nano BIGINT, flood VARCHAR, spans BIGINT, names BIGINT, of_this_name BIGINT
-- driven by: pass_floods
SELECT *
FROM pass_floods
