-- What does each kind of span, or span link, say of a message? Old and new spellings, first present first, each with the key that answered
-- (message_spellings.sql), and operations by their names of today (message_verbs.sql). Nothing else knows how instrumentations write these things; what
-- differs from message to message (ids, offsets) is looked up by the same spellings in graph/message_facts.py.
-- params:
-- returns: number BIGINT, system VARCHAR, system_key VARCHAR, operation VARCHAR, operation_key VARCHAR, destination VARCHAR, destination_key VARCHAR, dead_letter BOOLEAN, consumer_group VARCHAR, consumer_group_key VARCHAR, cluster VARCHAR, cloudevents_source VARCHAR, tombstone BOOLEAN, says BOOLEAN
-- driven by: message_parts
WITH attribute AS (
    SELECT number, unnest(message_attributes) AS a, generate_subscripts(message_attributes, 1) AS position
    FROM message_parts
),
-- which attribute answers: the lowest rank; the attribute's position is packed below it
answers AS (
    SELECT
        number,
        bool_or(starts_with(a.key, 'celery.')) AS celery,
        bool_or(a.value = '<default>') FILTER (starts_with(a.key, 'messaging.destination')) AS default_exchange,
        bool_or(a.value = 'true') FILTER (fact = 'temporary') AS temporary,
        min(rank * 65536 + position) FILTER (fact = 'system') % 65536 AS system,
        min(rank * 65536 + position) FILTER (fact = 'operation' AND v.verbs[lower(a.value)] IS NOT NULL) % 65536 AS operation,
        min(rank * 65536 + position) FILTER (fact = 'destination' AND a.value NOT IN ('(temporary)', '(anonymous)', '<default>')) AS destination,
        min(rank * 65536 + position) FILTER (fact = 'url') % 65536 AS url,
        min(rank * 65536 + position) FILTER (fact = 'group') % 65536 AS group_,
        min(rank * 65536 + position) FILTER (fact = 'cluster') % 65536 AS cluster,
        min(rank * 65536 + position) FILTER (fact = 'ce_source') % 65536 AS ce_source,
        min(rank * 65536 + position) FILTER (fact = 'tombstone') % 65536 AS tombstone,
        min(rank * 65536 + position) FILTER (fact = 'routing') % 65536 AS routing
    FROM attribute
    LEFT JOIN message_spellings s ON s.key = attribute.a.key
    CROSS JOIN message_verbs v
    WHERE a.value <> ''
    GROUP BY number
),
said AS (
    SELECT
        p.* EXCLUDE (message_attributes),
        p.message_attributes AS attributes,
        w.* EXCLUDE (number),
        coalesce(attributes[w.system].value, nullif(p.messaging_system, ''), CASE WHEN w.celery THEN 'celery' END, '') AS said_system,
        -- where a file of before the column existed has typed attributes only, these answer
        lower(coalesce(attributes[w.operation].value, p.messaging_operation)) AS said_operation,
        CASE
            WHEN w.temporary AND w.destination // 65536 > 1 THEN NULL -- a template names what is temporary
            WHEN w.destination IS NOT NULL THEN attributes[w.destination % 65536].value
            WHEN w.url IS NOT NULL THEN regexp_extract(attributes[w.url].value, '([^/?#]+)/*$', 1)
            -- AMQP: what is published to the default exchange goes to the queue that the routing key names
            WHEN w.default_exchange THEN attributes[w.routing].value
            WHEN p.messaging_destination NOT IN ('(temporary)', '(anonymous)', '<default>') THEN p.messaging_destination
        END AS said_destination
    FROM message_parts p
    LEFT JOIN answers w USING (number)
),
resolved AS (
    SELECT
        s.*,
        CASE
            WHEN lower(said_system) IN ('aws.sqs', 'amazonsqs', 'sqs', 'aws_sqs') THEN 'aws_sqs'
            WHEN lower(said_system) IN ('pubsub', 'com.google.cloud.pubsub.v1', 'gcp_pubsub') THEN 'gcp_pubsub'
            ELSE said_system
        END AS resolved_system,
        CASE WHEN said_destination NOT LIKE 'amq.gen-%' THEN said_destination ELSE '' END AS resolved_destination,
        v.verbs[said_operation] AS by_attribute,
        coalesce(v.verbs[lower(split_part(name, ' ', -1))], v.verbs[lower(split_part(name, ' ', 1))], v.verbs[lower(split_part(rpc_method, '/', -1))]) AS by_name
    FROM said s
    CROSS JOIN message_verbs v
)
SELECT
    number,
    resolved_system AS system,
    coalesce(attributes[r.system].key, '') AS system_key,
    CASE
        WHEN is_link THEN ''
        WHEN kind = 4 THEN CASE WHEN by_attribute IN ('create', 'send') THEN by_attribute WHEN by_name = 'create' THEN 'create' ELSE 'send' END
        WHEN kind = 5 THEN CASE
            -- pika and aio-pika call the span that wraps the handler a receive
            WHEN by_attribute = 'receive' AND resolved_system = 'rabbitmq' THEN 'process'
            WHEN by_attribute IN ('receive', 'process', 'settle') THEN by_attribute
            WHEN by_name = 'receive' THEN 'receive'
            ELSE 'process'
        END
        WHEN attributes IS NULL AND resolved_system = '' THEN ''
        ELSE coalesce(by_attribute, CASE WHEN kind IN (1, 3) THEN by_name END, '')
    END AS operation,
    CASE WHEN by_attribute IS NOT NULL THEN coalesce(attributes[r.operation].key, '') WHEN by_name IS NOT NULL THEN 'name' ELSE 'kind' END AS operation_key,
    coalesce(resolved_destination, '') AS destination,
    coalesce(attributes[coalesce(r.destination % 65536, r.url, r.routing)].key, '') AS destination_key,
    regexp_matches(
        coalesce(resolved_destination, ''), '(?i)(^|[^a-z])(dlq|dlx|dlt|retry|retries|parking[-_. ]?lot)([^a-z]|$)|dead[-_. ]?letter|[a-z](DLQ|Dlq)($|[^a-z])'
    ) AS dead_letter,
    coalesce(attributes[group_].value, '') AS consumer_group,
    coalesce(attributes[group_].key, '') AS consumer_group_key,
    coalesce(attributes[r.cluster].value, server_address, '') AS cluster,
    coalesce(trim(attributes[ce_source].value, '[]"'), '') AS cloudevents_source, -- a captured header is an array of one
    coalesce(lower(attributes[r.tombstone].value) = 'true', false) AS tombstone,
    attributes IS NOT NULL OR resolved_system <> '' AS says
FROM resolved r
ORDER BY number
