-- Which spans ended with an error, the newest first?
-- params: service_name varchar = null, max_rows bigint = 100
-- returns: start_time timestamp_ns, service_name varchar, name varchar, kind_name varchar, status_message varchar,
--   error_type varchar, http_response_status_code varchar, trace_id varchar, span_id varchar

SELECT
    start_time,
    service_name,
    name,
    kind_name,
    status_message,
    error_type,
    http_response_status_code,
    trace_id,
    span_id
FROM spans
WHERE status_code = 2
    AND (CAST($service_name AS VARCHAR) IS NULL OR service_name = $service_name)
ORDER BY start_time_unix_nano DESC, trace_id, span_id
LIMIT $max_rows
