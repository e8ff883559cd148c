-- Which calls were answered by a service of which no span comes, or none any more?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, caller VARCHAR, silent VARCHAR, time_unix_nano BIGINT, cause VARCHAR, calls BIGINT, since BIGINT, address VARCHAR
-- driven by: pass_lonely
SELECT
    trace_id_high,
    trace_id_low,
    span_id,
    service_name AS caller,
    silent,
    start_time_unix_nano AS time_unix_nano,
    silent_cause AS cause,
    silent_calls AS calls,
    silent_since AS since,
    peer_name AS address
FROM pass_lonely
WHERE silent <> ''
