-- Which sealed rows has a trace? Of spans files or of logs files, with all their columns.
-- params: files VARCHAR[], high UBIGINT, low UBIGINT
-- returns:
SELECT *
FROM read_parquet($files, union_by_name => true)
WHERE trace_id_high = $high AND trace_id_low = $low
