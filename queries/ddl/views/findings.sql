-- Which findings are open? (One row a finding, as in `analyze --format json`.)
-- params: none
-- returns: id varchar, level varchar, cause varchar, fingerprint varchar, service varchar, peer varchar,
--   signal_type varchar, signal_name varchar, count bigint, confidence double, first_seen timestamp_ns,
--   last_seen timestamp_ns, message varchar, how_to_fix varchar,
--   examples struct(trace_id varchar, span_id varchar)[], context json

CREATE VIEW findings AS
SELECT
    id,
    level,
    cause,
    fingerprint,
    service,
    peer,
    signal_type,
    signal_name,
    count,
    confidence,
    -- the far end of int64 nanoseconds stands for a clamped clock: NULL, as in readable_time
    TRY_CAST(first_seen AS TIMESTAMP_NS) AS first_seen,
    TRY_CAST(last_seen AS TIMESTAMP_NS) AS last_seen,
    message,
    how_to_fix,
    examples,
    context
FROM stored_findings
