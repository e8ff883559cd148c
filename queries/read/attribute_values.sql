-- Which values does one attribute of spans have, and how often?
-- params: key varchar, service_name varchar = null, max_rows bigint = 100
-- returns: value varchar, service_name varchar, spans bigint, errors bigint

SELECT
    "value",
    service_name,
    count(*) AS spans,
    count(*) FILTER (status_code = 2) AS errors
FROM (
    SELECT
        coalesce(nullif(service_name, ''), 'unknown_service') AS service_name,
        status_code,
        -- the first of that key, as in the map; the stored list is searched without building a map of each
        list_filter(attributes, lambda attribute: attribute."key" = $key)[1]."value" AS "value"
    FROM stored_spans
)
WHERE "value" IS NOT NULL
    AND (CAST($service_name AS VARCHAR) IS NULL OR service_name = $service_name)
GROUP BY "value", service_name
ORDER BY spans DESC, "value", service_name
LIMIT $max_rows
