-- Which traces begin with a CLIENT span that is neither a browser's nor a broker's client's?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, service VARCHAR, peer VARCHAR, signal_name VARCHAR, time_unix_nano BIGINT
-- driven by: pass_suspects
SELECT
    trace_id_high,
    trace_id_low,
    span_id,
    service_name AS service,
    -- who answered, else whom the span names
    CASE WHEN callee <> '' THEN callee WHEN database_name <> '' THEN database_name ELSE peer_name END AS peer,
    name AS signal_name,
    start_time_unix_nano AS time_unix_nano
FROM pass_suspects
WHERE
    root
    AND kind = 3
    AND messaging_system = ''
    -- SQS is polled by an AWS API call, which many instrumentations describe as one and not as messaging: SQS.ReceiveMessage
    AND NOT (coalesce(lower(rpc_method), '') = 'receivemessage' OR lower(name) LIKE '%receivemessage')
    AND telemetry_sdk_language <> 'webjs'
    -- refused or unresolved: a start-up probe before the other side is up
    AND NOT (status_code = 2 AND response_status = '' AND answers = 0)
