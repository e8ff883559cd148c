-- Which CLIENT spans have no answering span in any trace, and how regularly are calls like them answered?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, service VARCHAR, callee VARCHAR, signal_name VARCHAR, time_unix_nano BIGINT, answered BIGINT, calls BIGINT, outcome VARCHAR, responded BOOLEAN
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
    -- these of gRPC's codes (cancelled, deadline exceeded, unavailable) a client also gives itself when nobody answers
    s.status_code <> 2 OR s.response_status NOT IN ('', '1', '4', '14', 'CANCELLED', 'DEADLINE_EXCEEDED', 'UNAVAILABLE') AS responded
FROM pass_lonely s
JOIN slot_history h
    ON h.service = s.service_name
    AND h.name = s.called
    AND h.peer = s.peer_name
    AND h.outcome = concat(CASE WHEN s.status_code = 2 THEN 'error ' ELSE 'ok ' END, s.response_status, ' ', s.error_type)
WHERE
    s.kind = 3
    AND s.messaging_system = ''
    AND h.answered > 0
    AND s.response_status NOT IN ('502', '503', '504') -- who answered, the service or a proxy before it, cannot be told
