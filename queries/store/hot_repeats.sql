-- Every repeated span of a segment, for sealing.
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, kind UTINYINT, service_namespace VARCHAR, service_name VARCHAR,
--   service_instance_id VARCHAR, name VARCHAR, start_time_unix_nano BIGINT, end_time_unix_nano BIGINT, conflicting BOOLEAN,
--   arrival_time_unix_nano BIGINT
SELECT * FROM repeated_span
