-- Which spans does a trace have, in order of time?
-- params: trace_id varchar, max_rows bigint = 10000
-- returns: span_id varchar, parent_span_id varchar, service_name varchar, name varchar, kind_name varchar,
--   start_time timestamp_ns, duration_nano bigint, status_code_name varchar, status_message varchar,
--   attributes map(varchar, varchar)

SELECT
    span_id,
    parent_span_id,
    service_name,
    name,
    kind_name,
    start_time,
    duration_nano,
    status_code_name,
    status_message,
    attributes
FROM spans
WHERE trace_id = lpad(lower(trim($trace_id)), 32, '0')
ORDER BY start_time_unix_nano, span_id
LIMIT $max_rows
