-- Which spans took longest?
-- params: service_name varchar = null, name varchar = null, max_rows bigint = 20
-- returns: duration_nano bigint, service_name varchar, name varchar, kind_name varchar, start_time timestamp_ns,
--   trace_id varchar, span_id varchar

SELECT
    duration_nano,
    service_name,
    name,
    kind_name,
    start_time,
    trace_id,
    span_id
FROM spans
WHERE (CAST($service_name AS VARCHAR) IS NULL OR service_name = $service_name)
    AND (CAST($name AS VARCHAR) IS NULL OR name = $name)
ORDER BY duration_nano DESC, trace_id, span_id
LIMIT $max_rows
