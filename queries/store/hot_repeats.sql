-- Which repeated spans of a segment stand at some rows (table `chosen`)? A slice at a time, for sealing.
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, kind UTINYINT, service_namespace VARCHAR, service_name VARCHAR,
--   service_instance_id VARCHAR, name VARCHAR, start_time_unix_nano BIGINT, end_time_unix_nano BIGINT, conflicting BOOLEAN,
--   arrival_time_unix_nano BIGINT
SELECT repeated_span.* FROM repeated_span SEMI JOIN chosen ON repeated_span.rowid = chosen.row
