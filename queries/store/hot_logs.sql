-- Which log records of a segment stand at some rows (table `chosen`)? A slice at a time, for sealing.
-- params:
-- returns: time_unix_nano BIGINT, observed_time_unix_nano BIGINT, severity_number UTINYINT, severity_text VARCHAR, event_name VARCHAR,
--   body_type UTINYINT,
--   body VARCHAR, trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, flags UINTEGER, dropped_attributes_count UINTEGER,
--   resource_id UINTEGER, scope_id UINTEGER, attribute_ids UINTEGER[], arrival_time_unix_nano BIGINT
SELECT log_record.* FROM log_record SEMI JOIN chosen ON log_record.rowid = chosen.row
