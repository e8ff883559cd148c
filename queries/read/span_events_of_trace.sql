-- Which span events (exceptions, messages, marks) does a trace have, in order of time?
-- params: trace_id varchar, max_rows bigint = 10000
-- returns: time timestamp_ns, service_name varchar, span_id varchar, span_name varchar, name varchar,
--   attributes map(varchar, varchar)

SELECT
    time,
    service_name,
    span_id,
    span_name,
    name,
    attributes
FROM span_events
WHERE trace_id = lpad(lower(trim($trace_id)), 32, '0')
ORDER BY time_unix_nano, span_id, event_position
LIMIT $max_rows
