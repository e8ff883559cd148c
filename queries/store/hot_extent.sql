-- What does a segment hold: rows, first and last batch, first and last arrival?
-- params:
-- returns: spans BIGINT, logs BIGINT, first_batch UBIGINT, last_batch UBIGINT, first_arrival BIGINT, last_arrival BIGINT
SELECT
    (SELECT count(*) FROM span) AS spans,
    (SELECT count(*) FROM log_record) AS logs,
    coalesce(min(sequence), 0)::UBIGINT AS first_batch,
    coalesce(max(sequence), 0)::UBIGINT AS last_batch,
    coalesce(min(arrival_time_unix_nano), 0)::BIGINT AS first_arrival,
    coalesce(max(arrival_time_unix_nano), 0)::BIGINT AS last_arrival
FROM batch
