-- Which CLIENT spans have no answering span in any trace, and how regularly are calls like them answered?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, service VARCHAR, callee VARCHAR, signal_name VARCHAR, time_unix_nano BIGINT, answered BIGINT, calls BIGINT, outcome VARCHAR, responded BOOLEAN, sampled VARCHAR, sampled_by VARCHAR
-- driven by: pass_lonely
SELECT
    s.trace_id_high,
    s.trace_id_low,
    s.span_id,
    s.service_name AS service,
    h.callee,
    s.name AS signal_name,
    s.start_time_unix_nano AS time_unix_nano,
    h.answered,
    h.calls,
    h.outcome,
    s.responded,
    s.sampled,
    s.sampled_by
FROM pass_lonely s
JOIN slot_history h
    ON h.service = s.service_key
    AND h.name = s.called
    AND h.peer = s.peer_name
    AND h.outcome = s.outcome
WHERE
    s.kind = 3
    AND s.messaging_system = ''
    AND s.silent = '' -- whoever reports nothing at all is told of once
    AND h.answered > 0
    AND s.response_status NOT IN ('502', '503', '504') -- who answered, the service or a proxy before it, cannot be told
