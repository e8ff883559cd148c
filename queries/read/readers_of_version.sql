-- Which consumers read a version of what is sent to a destination, since when, and until when?
-- (By the counts of the message log, which outlive the spans. An empty version: messages of which no version is known.)
-- params: destination varchar, version varchar, max_rows bigint = 1000
-- returns: environment varchar, service_namespace varchar, service_name varchar, consumer_group varchar,
--   disposition varchar, messages bigint, traces bigint, first_time timestamp_ns, last_time timestamp_ns,
--   trace_id varchar, span_id varchar

SELECT
    environment,
    service_namespace,
    service_name,
    consumer_group,
    disposition,
    CAST(sum(messages) AS BIGINT) AS messages,
    CAST(sum(traces) AS BIGINT) AS traces,
    min(first_time) AS first_time,
    max(last_time) AS last_time,
    -- one of the latest
    arg_max(trace_id, last_time_unix_nano) FILTER (messages > 0) AS trace_id,
    arg_max(span_id, last_time_unix_nano) FILTER (messages > 0) AS span_id
FROM message_flows
WHERE role = 'consumer'
    -- a queue that is bound to an exchange has another name than what was published to
    AND $destination IN (destination, producer_destination)
    AND message_schema_version = $version
GROUP BY environment, service_namespace, service_name, consumer_group, disposition
HAVING sum(messages) > 0
ORDER BY last_time DESC, service_name, consumer_group, disposition
LIMIT $max_rows
