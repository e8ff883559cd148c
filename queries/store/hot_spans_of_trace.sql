-- Which spans of a trace does a segment hold: of more than max_rows the earliest? In no order.
-- params: high UBIGINT, low UBIGINT, max_rows BIGINT
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, parent_span_id UBIGINT, trace_state VARCHAR, flags UINTEGER, name VARCHAR,
--   kind UTINYINT,
--   start_time_unix_nano BIGINT, end_time_unix_nano BIGINT, status_code UTINYINT, status_message VARCHAR, dropped_attributes_count UINTEGER,
--   dropped_events_count UINTEGER, dropped_links_count UINTEGER, resource_id UINTEGER, scope_id UINTEGER, attribute_ids UINTEGER[],
--   events STRUCT(time_unix_nano BIGINT, "name" VARCHAR, attribute_ids UINTEGER[], dropped_attributes_count UINTEGER)[],
--   links STRUCT(trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, trace_state VARCHAR, flags UINTEGER, attribute_ids UINTEGER[],
--   dropped_attributes_count UINTEGER)[],
--   arrival_time_unix_nano BIGINT
SELECT *
FROM span
WHERE
    trace_id_high = $high AND trace_id_low = $low
    -- whole rows are not sorted: see sealed_spans_of_trace
    AND (start_time_unix_nano, span_id) <= coalesce(
        (
            SELECT (start_time_unix_nano, span_id)
            FROM span
            WHERE trace_id_high = $high AND trace_id_low = $low
            ORDER BY start_time_unix_nano, span_id
            LIMIT 1 OFFSET $max_rows - 1
        ),
        (9223372036854775807, 18446744073709551615)
    )
LIMIT $max_rows
