-- Which findings are open, by service, the gravest first?
-- params: service varchar = null, max_rows bigint = 1000
-- returns: service varchar, level varchar, id varchar, cause varchar, peer varchar, signal_name varchar, count bigint,
--   confidence double, last_seen timestamp_ns, message varchar, fingerprint varchar

SELECT
    service,
    level,
    id,
    cause,
    peer,
    signal_name,
    count,
    confidence,
    last_seen,
    message,
    fingerprint
FROM findings
WHERE CAST($service AS VARCHAR) IS NULL OR service = $service
ORDER BY
    list_position(['violation', 'improvement', 'information'], level),
    service,
    count DESC,
    fingerprint
LIMIT $max_rows
