-- Which sealed spans has a trace: of more than max_rows the earliest? With all their columns, in no order.
-- params: files VARCHAR[], high UBIGINT, low UBIGINT, max_rows BIGINT
-- returns:
SELECT *
FROM read_parquet($files, union_by_name => true)
WHERE
    trace_id_high = $high AND trace_id_low = $low
    -- sorting whole rows takes more memory than there is: 800,000 of them failed where this takes 100 MiB
    AND (start_time_unix_nano, span_id) <= coalesce(
        (
            SELECT (start_time_unix_nano, span_id)
            FROM read_parquet($files, union_by_name => true)
            WHERE trace_id_high = $high AND trace_id_low = $low
            ORDER BY start_time_unix_nano, span_id
            LIMIT 1 OFFSET $max_rows - 1
        ),
        (9223372036854775807, 18446744073709551615)
    )
LIMIT $max_rows
