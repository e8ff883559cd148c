-- Which messages were published and taken, the newest first?
-- An empty list takes everything. Of a message that was taken several times all rows but one say
-- that they stand for none: they are attempts.
-- params: since bigint, until bigint, max_rows bigint, highs ubigint[], lows ubigint[], destinations varchar[], systems varchar[],
--   versions varchar[], roles varchar[], environments varchar[], services varchar[], groups varchar[]
-- returns: role varchar, environment varchar, service_namespace varchar, service_name varchar,
--   consumer_group varchar, system varchar, destination varchar, dead_letter boolean, producer_namespace varchar,
--   producer_name varchar, producer_destination varchar, joined_by varchar, message_schema_version varchar,
--   version_source varchar, version_key varchar, disposition varchar, probability double, error boolean,
--   replayed boolean, tombstone boolean, trace_id_high ubigint, trace_id_low ubigint, span_id ubigint,
--   link_position integer, service_version varchar, service_instance_id varchar, name varchar,
--   producer_trace_id_high ubigint, producer_trace_id_low ubigint, producer_span_id ubigint, message_id varchar,
--   identity varchar, identity_kind varchar, partition varchar, offset bigint, delivery_attempt integer,
--   messages bigint, at_least boolean, time_unix_nano bigint, delay_nano bigint, arrival_time_unix_nano bigint

SELECT
    role,
    environment,
    service_namespace,
    service_name,
    consumer_group,
    system,
    destination,
    dead_letter,
    producer_namespace,
    producer_name,
    producer_destination,
    joined_by,
    message_schema_version,
    version_source,
    version_key,
    disposition,
    probability,
    error,
    replayed,
    tombstone,
    trace_id_high,
    trace_id_low,
    span_id,
    link_position,
    service_version,
    service_instance_id,
    name,
    producer_trace_id_high,
    producer_trace_id_low,
    producer_span_id,
    message_id,
    identity,
    identity_kind,
    "partition",
    "offset",
    delivery_attempt,
    messages,
    at_least,
    time_unix_nano,
    delay_nano,
    arrival_time_unix_nano
FROM logged_messages
WHERE arrival_time_unix_nano >= $since
    AND arrival_time_unix_nano < $until
    AND is_wanted_trace($highs, $lows, trace_id_high, trace_id_low)
    AND is_wanted($destinations, destination)
    AND is_wanted($systems, system)
    AND is_wanted($versions, message_schema_version)
    AND is_wanted($roles, role)
    AND is_wanted($environments, environment)
    AND is_wanted($services, service_name)
    AND is_wanted($groups, consumer_group)
ORDER BY arrival_time_unix_nano DESC, trace_id_high, trace_id_low, span_id, link_position
LIMIT $max_rows
