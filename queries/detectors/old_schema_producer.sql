-- Which messages of the old schema were sent after publishing it had stopped, or by a service that never sends the new?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, service VARCHAR, signal_name VARCHAR, time_unix_nano BIGINT, migration VARCHAR, destination VARCHAR, version VARCHAR, version_key VARCHAR, instance VARCHAR, after_cutoff BOOLEAN, messages BIGINT
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
    min(message_schema_version) AS version,
    min(version_key) AS version_key,
    min(service_instance_id) AS instance,
    bool_or(cutoff_unix_nano > 0 AND time_unix_nano >= cutoff_unix_nano) AS after_cutoff,
    count(*) AS messages
FROM pass_migrating
WHERE
    role = 'producer'
    AND side = 'old'
    -- what is taken back out of dead letters was published once, and is sent again
    AND NOT replayed
    AND NOT dead_letter
    AND (sends_only_old OR (cutoff_unix_nano > 0 AND time_unix_nano >= cutoff_unix_nano))
GROUP BY trace_id_high, trace_id_low, span_id
