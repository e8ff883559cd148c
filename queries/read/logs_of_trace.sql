-- Which log records belong to a trace, in order of time?
-- params: trace_id varchar, max_rows bigint = 10000
-- returns: time timestamp_ns, service_name varchar, span_id varchar, severity_number utinyint, severity_text varchar,
--   body varchar, attributes map(varchar, varchar)

SELECT
    coalesce(time, observed_time) AS time,  -- a record may carry only the time of its observation
    service_name,
    span_id,
    severity_number,
    severity_text,
    body,
    attributes
FROM logs
WHERE trace_id = lpad(lower(trim($trace_id)), 32, '0')
ORDER BY coalesce(nullif(time_unix_nano, 0), observed_time_unix_nano), span_id
LIMIT $max_rows
