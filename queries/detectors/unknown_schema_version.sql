-- Which messages on the channel of a migration are of no version that is known?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, service VARCHAR, signal_name VARCHAR, time_unix_nano BIGINT, migration VARCHAR, destination VARCHAR, version VARCHAR, role VARCHAR, instance VARCHAR, messages BIGINT
-- driven by: pass_migrating
SELECT
    trace_id_high,
    trace_id_low,
    span_id,
    min(service_name) AS service,
    min(name) AS signal_name,
    min(time_unix_nano) AS time_unix_nano,
    min(migration) AS migration,
    min(destination) AS destination,
    max(message_schema_version) AS version,
    min(role) AS role,
    min(service_instance_id) AS instance,
    count(*) AS messages
FROM pass_migrating
WHERE
    side = 'unknown'
    AND counts
    -- of a message that holds both schemas only its consumers can say one
    AND NOT (shape = 'one_message' AND role = 'producer')
GROUP BY trace_id_high, trace_id_low, span_id
