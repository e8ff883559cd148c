-- Which producers publish only one version to a destination to which more than one version is published?
-- params: destination varchar = null, max_rows bigint = 1000
-- returns: environment varchar, destination varchar, service_namespace varchar, service_name varchar,
--   message_schema_version varchar, messages bigint, first_time timestamp_ns, last_time timestamp_ns,
--   other_versions varchar[]

WITH published AS (
    SELECT
        environment,
        destination,
        service_namespace,
        service_name,
        message_schema_version,
        CAST(sum(messages) AS BIGINT) AS messages,
        min(first_time) AS first_time,
        max(last_time) AS last_time
    FROM message_flows
    WHERE role = 'producer'
        AND NOT replayed
        AND NOT tombstone
        AND (CAST($destination AS VARCHAR) IS NULL OR destination = $destination)
    GROUP BY environment, destination, service_namespace, service_name, message_schema_version
    HAVING sum(messages) > 0
),
of_all AS (
    SELECT environment, destination, list_sort(list(DISTINCT message_schema_version)) AS versions
    FROM published
    GROUP BY environment, destination
),
of_one AS (
    SELECT *, count(*) OVER (PARTITION BY environment, destination, service_namespace, service_name) AS versions_published
    FROM published
)
SELECT
    of_one.environment,
    of_one.destination,
    of_one.service_namespace,
    of_one.service_name,
    of_one.message_schema_version,
    of_one.messages,
    of_one.first_time,
    of_one.last_time,
    list_filter(of_all.versions, lambda version: version <> of_one.message_schema_version) AS other_versions
FROM of_one
JOIN of_all USING (environment, destination)
WHERE of_one.versions_published = 1
    AND len(of_all.versions) > 1
ORDER BY of_one.destination, of_one.service_name, of_one.environment
LIMIT $max_rows
