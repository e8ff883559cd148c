-- Which operations does a service have, how often do they fail, and how long do they take?
-- params: service_name varchar, max_rows bigint = 1000
-- returns: name varchar, kind_name varchar, spans bigint, errors bigint, p50_nano bigint, p95_nano bigint,
--   p99_nano bigint

SELECT
    name,
    kind_name,
    count(*) AS spans,
    count(*) FILTER (status_code = 2) AS errors,
    approx_quantile(duration_nano, 0.5) AS p50_nano,
    approx_quantile(duration_nano, 0.95) AS p95_nano,
    approx_quantile(duration_nano, 0.99) AS p99_nano
FROM spans
WHERE service_name = $service_name
GROUP BY name, kind_name
ORDER BY spans DESC, name, kind_name
LIMIT $max_rows
