-- How many spans of a trace does a segment hold, how many of them are roots, and how many log records?
-- params: high UBIGINT, low UBIGINT
-- returns: spans BIGINT, roots BIGINT, logs BIGINT
SELECT
    count(*) AS spans,
    count(*) FILTER (WHERE parent_span_id = 0) AS roots,
    (SELECT count(*) FROM log_record WHERE trace_id_high = $high AND trace_id_low = $low) AS logs
FROM span
WHERE trace_id_high = $high AND trace_id_low = $low
