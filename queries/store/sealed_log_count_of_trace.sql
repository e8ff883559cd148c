-- How many sealed log records has a trace?
-- params: files VARCHAR[], high UBIGINT, low UBIGINT
-- returns: logs BIGINT
SELECT count(*) AS logs
FROM read_parquet($files, union_by_name => true)
WHERE trace_id_high = $high AND trace_id_low = $low
