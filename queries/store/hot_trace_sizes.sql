-- How many spans of some traces arrived at a segment in a window, and when did the first?
-- params: since BIGINT, until BIGINT
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, spans BIGINT, first_arrival BIGINT
SELECT
    trace_id_high,
    trace_id_low,
    count(*) AS spans,
    min(arrival_time_unix_nano) AS first_arrival
FROM span s
WHERE
    arrival_time_unix_nano > $since AND arrival_time_unix_nano <= $until
    AND EXISTS (SELECT 1 FROM wanted w WHERE w.trace_id_high = s.trace_id_high AND w.trace_id_low = s.trace_id_low)
GROUP BY trace_id_high, trace_id_low
