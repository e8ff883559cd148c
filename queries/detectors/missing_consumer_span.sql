-- Which messages were taken by a service whose CONSUMER span never came?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, service VARCHAR, consumer VARCHAR, signal_name VARCHAR, time_unix_nano BIGINT, destination VARCHAR, system VARCHAR
-- driven by: pass_lonely
SELECT
    trace_id_high,
    trace_id_low,
    span_id,
    service_name AS service,
    consumed_by AS consumer,
    name AS signal_name,
    start_time_unix_nano AS time_unix_nano,
    messaging_destination AS destination,
    messaging_system AS system
FROM pass_lonely
WHERE
    kind = 4
    AND consumed_by <> ''
