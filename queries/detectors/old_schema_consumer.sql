-- Which messages of the old schema of a migration were used, by a consumer that counts?
-- params:
-- returns: trace_id_high UBIGINT, trace_id_low UBIGINT, span_id UBIGINT, service VARCHAR, producer VARCHAR, signal_name VARCHAR, time_unix_nano BIGINT, migration VARCHAR, destination VARCHAR, version VARCHAR, version_key VARCHAR, consumer_group VARCHAR, instance VARCHAR, was_quiet BOOLEAN, replayed BOOLEAN, messages BIGINT
-- driven by: pass_migrating
SELECT
    trace_id_high,
    trace_id_low,
    span_id,
    min(service_name) AS service,
    min(producer_name) AS producer,
    min(name) AS signal_name,
    min(time_unix_nano) AS time_unix_nano,
    -- a span of a batch is one occurrence, of the first migration by name
    min(migration) AS migration,
    min(destination) AS destination,
    min(message_schema_version) AS version,
    min(version_key) AS version_key,
    min(consumer_group) AS consumer_group,
    min(service_instance_id) AS instance,
    bool_or(was_quiet) AS was_quiet,
    bool_and(replayed) AS replayed,
    count(*) AS messages
FROM pass_migrating
WHERE
    role = 'consumer'
    AND side = 'old'
    AND proof = 'used'
    AND counts
GROUP BY trace_id_high, trace_id_low, span_id
