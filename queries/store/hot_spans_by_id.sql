-- Who sent the spans of a segment that some links name?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, service_name VARCHAR, service_namespace VARCHAR, kind UTINYINT,
--   end_time_unix_nano BIGINT, name VARCHAR, attribute_ids UINTEGER[]
SELECT
    s.trace_id_high,
    s.trace_id_low,
    s.span_id,
    r.service_name,
    r.service_namespace,
    s.kind,
    s.end_time_unix_nano,
    s.name,
    s.attribute_ids
FROM span s
JOIN resource r USING (resource_id)
WHERE EXISTS (
    SELECT 1
    FROM candidate c
    WHERE c.trace_id_high = s.trace_id_high AND c.trace_id_low = s.trace_id_low AND c.span_id = s.span_id
)
