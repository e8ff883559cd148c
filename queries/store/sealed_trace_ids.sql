-- Which trace ids have sealed spans that arrived in a window?
-- params: files VARCHAR[], since BIGINT, until BIGINT
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT
SELECT trace_id_high, trace_id_low
FROM read_parquet($files, union_by_name => true)
WHERE arrival_time_unix_nano > $since AND arrival_time_unix_nano <= $until
