-- How many messages did one consumer read on each day (UTC), by destination, version and disposition?
-- params: service_name varchar, consumer_group varchar = null, max_rows bigint = 1000
-- returns: day date, environment varchar, consumer_group varchar, system varchar, destination varchar,
--   message_schema_version varchar, disposition varchar, messages bigint, traces bigint, errors bigint

SELECT
    CAST(minute_time AS DATE) AS "day",
    environment,
    consumer_group,
    system,
    destination,
    message_schema_version,
    disposition,
    CAST(sum(messages) AS BIGINT) AS messages,
    CAST(sum(traces) AS BIGINT) AS traces,
    CAST(coalesce(sum(messages) FILTER (error), 0) AS BIGINT) AS errors
FROM message_flows
WHERE role = 'consumer'
    AND service_name = $service_name
    AND (CAST($consumer_group AS VARCHAR) IS NULL OR consumer_group = $consumer_group)
GROUP BY "day", environment, consumer_group, system, destination, message_schema_version, disposition
HAVING sum(messages) > 0
ORDER BY "day" DESC, environment, consumer_group, destination, message_schema_version, disposition
LIMIT $max_rows
