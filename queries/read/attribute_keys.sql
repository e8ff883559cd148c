-- Which attributes do spans carry, and on how many spans of how many services?
-- params: service_name varchar = null, max_rows bigint = 1000
-- returns: key varchar, spans bigint, services bigint, distinct_values bigint

SELECT
    attribute."key" AS "key",
    count(*) AS spans,
    count(DISTINCT service_name) AS services,
    approx_count_distinct(attribute."value") AS distinct_values
FROM (
    SELECT
        coalesce(nullif(service_name, ''), 'unknown_service') AS service_name,
        unnest(attributes) AS attribute  -- the stored list: no need to build a map of each
    FROM stored_spans
)
WHERE CAST($service_name AS VARCHAR) IS NULL OR service_name = $service_name
GROUP BY attribute."key"
ORDER BY spans DESC, "key"
LIMIT $max_rows
