-- Which log records of a trace does a segment hold?
-- params: high UBIGINT, low UBIGINT
-- returns: time_unix_nano BIGINT, observed_time_unix_nano BIGINT, severity_number UTINYINT, severity_text VARCHAR, event_name VARCHAR,
--   body_type UTINYINT,
--   body VARCHAR, trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, flags UINTEGER, dropped_attributes_count UINTEGER,
--   resource_id UINTEGER, scope_id UINTEGER, attribute_ids UINTEGER[], arrival_time_unix_nano BIGINT
SELECT * FROM log_record
WHERE trace_id_high = $high AND trace_id_low = $low
