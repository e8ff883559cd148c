-- Which sealed log records has a trace: of more than max_rows the earliest? With all their columns, in no order.
-- params: files VARCHAR[], high UBIGINT, low UBIGINT, max_rows BIGINT
-- returns:
SELECT *
FROM read_parquet($files, union_by_name => true)
WHERE
    trace_id_high = $high AND trace_id_low = $low
    -- OTLP: a time of 0 is not known
    AND coalesce(nullif(time_unix_nano, 0), observed_time_unix_nano, 0) <= coalesce(
        (
            SELECT coalesce(nullif(time_unix_nano, 0), observed_time_unix_nano, 0) AS time
            FROM read_parquet($files, union_by_name => true)
            WHERE trace_id_high = $high AND trace_id_low = $low
            ORDER BY time
            LIMIT 1 OFFSET $max_rows - 1
        ),
        9223372036854775807
    )
LIMIT $max_rows
