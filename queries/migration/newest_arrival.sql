-- From which arrival on are there so many messages, of those that are asked for? (No row where there is none.)
-- It reads few columns: then the rows themselves are looked for in a short time only.
-- params: since bigint, until bigint, max_rows bigint, highs ubigint[], lows ubigint[], destinations varchar[],
--   systems varchar[], versions varchar[], roles varchar[], environments varchar[], services varchar[], groups varchar[]
-- returns: arrival_time_unix_nano bigint

SELECT arrival_time_unix_nano
FROM (
    SELECT arrival_time_unix_nano
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
    ORDER BY arrival_time_unix_nano DESC
    LIMIT $max_rows
)
ORDER BY arrival_time_unix_nano
LIMIT 1
