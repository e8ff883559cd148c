-- Which spans of a trace does a segment hold?
-- params: high UBIGINT, low UBIGINT
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, parent_span_id UBIGINT, trace_state VARCHAR, flags UINTEGER, name VARCHAR,
--   kind UTINYINT,
--   start_time_unix_nano BIGINT, end_time_unix_nano BIGINT, status_code UTINYINT, status_message VARCHAR, dropped_attributes_count UINTEGER,
--   dropped_events_count UINTEGER, dropped_links_count UINTEGER, resource_id UINTEGER, scope_id UINTEGER, attribute_ids UINTEGER[],
--   events STRUCT(time_unix_nano BIGINT, "name" VARCHAR, attribute_ids UINTEGER[], dropped_attributes_count UINTEGER)[],
--   links STRUCT(trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, trace_state VARCHAR, flags UINTEGER, attribute_ids UINTEGER[],
--   dropped_attributes_count UINTEGER)[],
--   arrival_time_unix_nano BIGINT
SELECT * FROM span
WHERE trace_id_high = $high AND trace_id_low = $low
