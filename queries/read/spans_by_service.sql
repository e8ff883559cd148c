-- How many spans, errors and traces does each service have, and when was it last heard of?
-- params: max_rows bigint = 1000
-- returns: service_name varchar, spans bigint, traces bigint, root_spans bigint, errors bigint,
--   first_start_time timestamp_ns, last_start_time timestamp_ns, last_arrival_time timestamp_ns

SELECT
    service_name,
    count(*) AS spans,
    approx_count_distinct(trace_id) AS traces,  -- within a few percent; exact counting keeps every id in memory
    count(*) FILTER (parent_span_id IS NULL) AS root_spans,
    count(*) FILTER (status_code = 2) AS errors,
    min(start_time) AS first_start_time,
    max(start_time) AS last_start_time,
    max(arrival_time) AS last_arrival_time
FROM spans
GROUP BY service_name
ORDER BY spans DESC, service_name
LIMIT $max_rows
