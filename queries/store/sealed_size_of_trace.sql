-- How many sealed spans has a trace, and how many of them are roots?
-- params: files VARCHAR[], high UBIGINT, low UBIGINT
-- returns: spans BIGINT, roots BIGINT
SELECT
    count(*) AS spans,
    count(*) FILTER (WHERE parent_span_id = 0) AS roots
FROM read_parquet($files, union_by_name => true)
WHERE trace_id_high = $high AND trace_id_low = $low
