-- Which traces have no root, and which of their orphans stands topmost?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, service VARCHAR, signal_name VARCHAR, time_unix_nano BIGINT, missing_span_id UBIGINT, spans BIGINT, absent BIGINT, cause VARCHAR, cause_confidence DOUBLE, begins BOOLEAN
-- driven by: pass_suspects
WITH topmost AS (
    SELECT
        t.trace,
        t.spans,
        t.absent,
        -- the first to begin; by id and by what it says where clocks tie, so that any order of arrival gives the same answer
        arg_min(s.row, (s.start_time_unix_nano, s.span_id, s.service_name, s.name, s.kind)) AS row
    FROM pass_traces t
    JOIN pass_suspects s ON s.trace = t.trace
    WHERE t.roots = 0 AND t.looped = 0 AND s.parent_absent
    GROUP BY t.trace, t.spans, t.absent
)
SELECT
    s.trace_id_high,
    s.trace_id_low,
    s.span_id,
    s.service_name AS service,
    s.name AS signal_name,
    s.start_time_unix_nano AS time_unix_nano,
    s.parent_span_id AS missing_span_id,
    topmost.spans,
    topmost.absent,
    c.cause,
    c.confidence AS cause_confidence,
    c.begins
FROM topmost
JOIN pass_suspects s ON s.row = topmost.row
JOIN orphan_causes c ON c.row = topmost.row
WHERE
    c.cause NOT IN ('sampled_out', 'pending') -- its root was left out on purpose, or may still run
    AND NOT (c.cause = 'unknown' AND c.sampled = 'perhaps') -- or perhaps was
