-- What identifies, and what is in, the spans of a segment that share trace and span id with a candidate?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, kind UTINYINT, service_namespace VARCHAR, service_name VARCHAR,
--   name VARCHAR, parent_span_id UBIGINT, start_time_unix_nano BIGINT, end_time_unix_nano BIGINT, status_code UTINYINT
SELECT
    s.trace_id_high,
    s.trace_id_low,
    s.span_id,
    s.kind,
    coalesce(r.service_namespace, '') AS service_namespace,
    coalesce(r.service_name, '') AS service_name,
    s.name,
    s.parent_span_id,
    s.start_time_unix_nano,
    s.end_time_unix_nano,
    s.status_code
FROM span s
JOIN resource r USING (resource_id)
WHERE EXISTS (
    SELECT 1
    FROM candidate c
    WHERE c.trace_id_high = s.trace_id_high AND c.trace_id_low = s.trace_id_low AND c.span_id = s.span_id
)
