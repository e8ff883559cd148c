-- Which attributes say what of a message? Old and new spellings of each fact, the first that is present counts (rank 1).
-- params:
-- returns: fact VARCHAR, key VARCHAR, rank BIGINT
SELECT fact, unnest(keys) AS key, generate_subscripts(keys, 1) AS rank
FROM (
    VALUES
    ('system', ['messaging.system']),
    ('operation', ['messaging.operation.type', 'messaging.operation', 'messaging.operation.name', 'celery.action']),
    ('destination', ['messaging.destination.template', 'messaging.destination.name', 'messaging.destination']),
    ('url', ['aws.sqs.queue.url', 'aws.sqs.queue_url', 'aws.queue_url', 'messaging.url']),
    ('temporary', ['messaging.destination.temporary', 'messaging.destination.anonymous']),
    ('group', [
        'messaging.consumer.group.name', 'messaging.kafka.consumer.group', 'messaging.kafka.consumer_group',
        'messaging.eventhubs.consumer.group', 'messaging.rocketmq.client_group', 'messaging.destination.subscription.name',
        'messaging.servicebus.destination.subscription_name'
    ]),
    ('partition', ['messaging.destination.partition.id', 'messaging.kafka.destination.partition', 'messaging.kafka.partition']),
    ('offset', ['messaging.kafka.offset', 'messaging.kafka.message.offset']),
    ('id', ['messaging.message.id', 'messaging.message_id', 'messaging.id']),
    ('cluster', ['messaging.kafka.cluster.id']),
    ('ce_id', ['cloudevents.event_id', 'messaging.header.ce_id', 'messaging.header.ce-id']),
    ('ce_source', ['cloudevents.event_source', 'messaging.header.ce_source', 'messaging.header.ce-source']),
    ('attempt', ['messaging.gcp_pubsub.message.delivery_attempt', 'messaging.servicebus.message.delivery_count', 'celery.retries']), -- the last counts what came before this attempt
    ('batch', ['messaging.batch.message_count', 'messaging.batch_count']),
    ('tombstone', ['messaging.kafka.message.tombstone', 'messaging.kafka.tombstone']),
    ('key', ['messaging.kafka.message.key', 'messaging.kafka.message_key']),
    ('routing', ['messaging.rabbitmq.destination.routing_key', 'messaging.rabbitmq.routing_key']),
    ('queued', ['kafka.record.queue_time_ms'])
) AS t (fact, keys)
