-- What do instrumentations call an operation: in an attribute, as the first or last word of a span's name, or as an RPC's method?
-- params:
-- returns: verbs MAP(VARCHAR, VARCHAR)
SELECT map_from_entries(flatten(list(list_transform(words, lambda word: {'key': word, 'value': operation})))) AS verbs
FROM (
    VALUES
    ('create', ['create']),
    ('send', ['send', 'publish', 'produce', 'enqueue', 'apply_async', 'sendmessage', 'sendmessagebatch', 'publishbatch', 'putrecord', 'putrecords']),
    ('receive', ['receive', 'poll', 'recv', 'fetch', 'receivemessage']),
    ('process', ['process', 'deliver', 'consume', 'run']),
    ('settle', [
        'settle', 'ack', 'nack', 'modack', 'commit', 'reject', 'complete', 'abandon', 'delete', 'deletemessage', 'deletemessagebatch', 'changemessagevisibility'
    ])
) AS t (operation, words)
