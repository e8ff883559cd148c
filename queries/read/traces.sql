-- Which traces arrived last, and how large are they?
-- params: service_name varchar = null, max_rows bigint = 100
-- returns: trace_id varchar, spans bigint, services bigint, errors bigint, root_service_name varchar, root_name varchar,
--   start_time timestamp_ns, duration_nano hugeint

SELECT
    trace_id,
    count(*) AS spans,
    count(DISTINCT service_name) AS services,
    count(*) FILTER (status_code = 2) AS errors,
    -- NULL where no span without parent arrived
    arg_min(service_name, start_time_unix_nano) FILTER (parent_span_id IS NULL) AS root_service_name,
    arg_min(name, start_time_unix_nano) FILTER (parent_span_id IS NULL) AS root_name,
    min(start_time) AS start_time,
    CAST(max(end_time_unix_nano) AS HUGEINT) - min(start_time_unix_nano) AS duration_nano
FROM spans
GROUP BY trace_id
HAVING CAST($service_name AS VARCHAR) IS NULL OR bool_or(service_name = $service_name)
ORDER BY max(arrival_time_unix_nano) DESC, trace_id
LIMIT $max_rows
