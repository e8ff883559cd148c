-- Which trace ids have spans that arrived at a segment in a window?
-- params: since BIGINT, until BIGINT
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT
SELECT trace_id_high, trace_id_low
FROM span
WHERE arrival_time_unix_nano > $since AND arrival_time_unix_nano <= $until
