-- Who sent the sealed spans that some links name?
-- params: files VARCHAR[]
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, service_name VARCHAR, service_namespace VARCHAR, kind UTINYINT,
--   end_time_unix_nano BIGINT, name VARCHAR, message_attributes STRUCT("key" VARCHAR, "type" UTINYINT, "value" VARCHAR)[]
SELECT
    s.trace_id_high,
    s.trace_id_low,
    s.span_id,
    s.service_name,
    s.service_namespace,
    s.kind,
    s.end_time_unix_nano,
    s.name,
    s.message_attributes
FROM read_parquet($files, union_by_name => true) s
WHERE EXISTS (
    SELECT 1
    FROM candidate c
    WHERE c.trace_id_high = s.trace_id_high AND c.trace_id_low = s.trace_id_low AND c.span_id = s.span_id
)
