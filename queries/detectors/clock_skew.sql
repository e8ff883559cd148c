-- Which pairs of clocks were seen in this pass, often enough and not told of just now, and what is known of their offset?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, service VARCHAR, peer VARCHAR, time_unix_nano BIGINT, client_clock VARCHAR, server_clock VARCHAR, lower BIGINT, upper BIGINT, pairs BIGINT, ahead BIGINT, behind BIGINT, pairs_in_all BIGINT, narrowed BOOLEAN, median_duration DOUBLE
-- driven by: clock_history
SELECT
    trace_id_high,
    trace_id_low,
    span_id,
    server_service AS service,
    client_service AS peer,
    start_time_unix_nano AS time_unix_nano,
    client_clock,
    server_clock,
    lower,
    upper,
    pairs,
    ahead,
    behind,
    pairs_in_all,
    narrowed,
    median_duration
FROM clock_history
WHERE seen
