-- Which log records of a trace does a segment hold: of more than max_rows the earliest? In no order.
-- params: high UBIGINT, low UBIGINT, max_rows BIGINT
-- returns: time_unix_nano BIGINT, observed_time_unix_nano BIGINT, severity_number UTINYINT, severity_text VARCHAR, event_name VARCHAR,
--   body_type UTINYINT,
--   body VARCHAR, trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, flags UINTEGER, dropped_attributes_count UINTEGER,
--   resource_id UINTEGER, scope_id UINTEGER, attribute_ids UINTEGER[], arrival_time_unix_nano BIGINT
SELECT *
FROM log_record
WHERE
    trace_id_high = $high AND trace_id_low = $low
    -- OTLP: a time of 0 is not known
    AND coalesce(nullif(time_unix_nano, 0), observed_time_unix_nano, 0) <= coalesce(
        (
            SELECT coalesce(nullif(time_unix_nano, 0), observed_time_unix_nano, 0) AS time
            FROM log_record
            WHERE trace_id_high = $high AND trace_id_low = $low
            ORDER BY time
            LIMIT 1 OFFSET $max_rows - 1
        ),
        9223372036854775807
    )
LIMIT $max_rows
