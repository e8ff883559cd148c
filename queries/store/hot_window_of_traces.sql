-- Which spans of some traces arrived at a segment in a window? What the analysis reads; names and attributes are still numbers.
-- params: since BIGINT, until BIGINT
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, parent_span_id UBIGINT, trace_state VARCHAR, flags UINTEGER, name VARCHAR, kind UTINYINT,
--   start_time_unix_nano BIGINT,
--   end_time_unix_nano BIGINT, status_code UTINYINT, dropped_links_count UINTEGER,
--   resource_id UINTEGER, attribute_ids UINTEGER[], links STRUCT(trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, flags UINTEGER, attribute_ids UINTEGER[])[],
--   arrival_time_unix_nano BIGINT
SELECT
    trace_id_high,
    trace_id_low,
    span_id,
    parent_span_id,
    trace_state,
    flags,
    name,
    kind,
    start_time_unix_nano,
    end_time_unix_nano,
    status_code,
    dropped_links_count,
    resource_id,
    attribute_ids,
    list_transform(
        links,
        lambda l: {
            'trace_id_high': l.trace_id_high, 'trace_id_low': l.trace_id_low, 'span_id': l.span_id, 'flags': l.flags, 'attribute_ids': l.attribute_ids
        }
    ) AS links,
    arrival_time_unix_nano
FROM span s
WHERE
    arrival_time_unix_nano > $since AND arrival_time_unix_nano <= $until
    AND EXISTS (SELECT 1 FROM wanted w WHERE w.trace_id_high = s.trace_id_high AND w.trace_id_low = s.trace_id_low)
