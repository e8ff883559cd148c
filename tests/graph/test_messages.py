"""Which messages spans tell of: who published, who took, by what they are joined, whatever the instrumentation calls it."""

from __future__ import annotations

from collections import Counter

import pytest
from looking import NOW, Elsewhere
from message_cases import look, passes_of, sent, taken
from spans import span_id, spans

from traced.model.edge import ConnectionType

KAFKA = "msg=kafka dest=orders"


@pytest.mark.parametrize(
    ("lines", "edges", "published"),
    [
        pytest.param(
            [f"shop PRODUCER p {KAFKA} op=send", f"bill CONSUMER c<p {KAFKA} op=process group=g"],
            {("shop", "orders", "bill/g", "parent"): 1},
            {("shop", "orders"): 1},
            id="a process span below its producer",
        ),
        pytest.param(
            [f"shop PRODUCER a:p {KAFKA} op=send", f"bill CONSUMER b:c {KAFKA} op=process group=g ->a:p"],
            {("shop", "orders", "bill/g", "link"): 1},
            {("shop", "orders"): 1},
            id="a process span that links to its producer",
        ),
        pytest.param(
            ["shop PRODUCER p messaging.system=kafka messaging.destination=orders messaging.operation=publish", f"bill CONSUMER c<p {KAFKA} op=process ->p"],
            {("shop", "orders", "bill", "link"): 1},
            {("shop", "orders"): 1},
            id="parent and link to one producer are one",
        ),
        pytest.param(
            [f"shop PRODUCER p {KAFKA}", f"bill CONSUMER r<p {KAFKA} op=receive", f"bill CONSUMER c<r {KAFKA} op=process"],
            {("shop", "orders", "bill", "parent"): 1},
            {("shop", "orders"): 1},
            id="receive and process of one message are one",
        ),
        pytest.param(
            [f"shop PRODUCER k {KAFKA} op=create", f"shop CLIENT s<k {KAFKA} op=send", f"bill CONSUMER c<k {KAFKA} op=process"],
            {("shop", "orders", "bill", "parent"): 1},
            {("shop", "orders"): 1},
            id="create and send of one message are one, and the send is a CLIENT",
        ),
        pytest.param(
            [f"shop CLIENT s {KAFKA} op=send batch=3", f"shop PRODUCER k1<s {KAFKA} op=create", f"shop PRODUCER k2<s {KAFKA} op=create"],
            {},
            {("shop", "orders"): 3},
            id="a batch of three with two creates has a third message",
        ),
        pytest.param(
            ["shop SERVER r", *(f"shop PRODUCER {k}<r {KAFKA} op=create" for k in ("k1", "k2")), f"shop PRODUCER s<r {KAFKA} op=send batch=2"],
            {},
            {("shop", "orders"): 2},
            id="a batch of two with two creates beside it has two messages",
        ),
        pytest.param(
            ["shop SERVER r", *(f"shop PRODUCER {k}<r {KAFKA} op=create" for k in ("k1", "k2")), f"shop PRODUCER s<r {KAFKA} op=send batch=3"],
            {},
            {("shop", "orders"): 5},
            id="creates beside a batch of another number are not of it, as far as is known",
        ),
    ],
)
def test_edges(lines, edges, published):
    _, flows = look(lines)
    assert taken(flows) == edges
    assert sent(flows) == published


def of_one(*lines: str) -> dict:
    """Give the only consumption of some lines."""
    rows, _ = look(lines)
    (row,) = [r for r in rows if r["role"] == "consumer"]
    return row


# ---------------------------------------------------------------------- spellings


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("messaging.system=kafka messaging.destination=old messaging.destination.name=new", {"destination": "new"}),
        ("messaging.system=kafka messaging.destination.template=order-{id} dest=order-7", {"destination": "order-{id}"}),
        ("msg=AmazonSQS aws.queue_url=https://sqs.eu/123/jobs", {"system": "aws_sqs", "destination": "jobs"}),
        ("msg=aws.sqs messaging.url=https://sqs.eu/123/jobs/", {"system": "aws_sqs", "destination": "jobs"}),
        ("msg=com.google.cloud.pubsub.v1 dest=topic", {"system": "gcp_pubsub"}),
        ("msg=aws.sns dest=topic", {"system": "aws.sns"}),
        ("msg=rabbitmq dest=(temporary)", {"destination": ""}),
        ("msg=rabbitmq dest=amq.gen-1234", {"destination": ""}),
        ("msg=rabbitmq dest=reply-1 messaging.destination.temporary=true", {"destination": ""}),
        ("msg=rabbitmq dest=<default> messaging.rabbitmq.destination.routing_key=jobs", {"destination": "jobs"}),
        ("msg=kafka dest=t messaging.kafka.partition=3", {"partition": "3"}),
        ("msg=kafka dest=t partition=3 messaging.kafka.message.offset=17", {"partition": "3", "offset": 17}),
        ("msg=kafka dest=t offset=-1", {"offset": None}),
        ("msg=kafka dest=t messaging.message_id=m1", {"message_id": "m1"}),
        ("msg=kafka dest=t messaging.kafka.consumer.group=g", {"consumer_group": "g"}),
        ("msg=gcp_pubsub dest=t messaging.destination.subscription.name=s", {"consumer_group": "s"}),
        ("celery.action=run messaging.destination=jobs messaging.message_id=m1", {"system": "celery", "destination": "jobs"}),
        ("celery.action=run dest=jobs celery.retries=2", {"delivery_attempt": 3}),
        ("msg=gcp_pubsub dest=t messaging.gcp_pubsub.message.delivery_attempt=4", {"delivery_attempt": 4}),
        ("msg=kafka dest=t messaging.kafka.tombstone=true", {"tombstone": True, "message_schema_version": ""}),
        ("msg=kafka dest=orders.dlq", {"dead_letter": True}),
        ("msg=kafka dest=orders-retry-2", {"dead_letter": True}),
        ("msg=servicebus dest=orders/$DeadLetterQueue", {"dead_letter": True}),
        ("msg=kafka dest=dlquery", {"dead_letter": False}),
    ],
)
def test_old_and_new_spellings_say_the_same(words, expected):
    row = of_one(f"bill CONSUMER c {words}")
    assert {name: row[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("bill CONSUMER c msg=kafka dest=t op=process", 1),
        ("bill CONSUMER c msg=kafka dest=t messaging.operation=deliver", 1),
        ("bill CONSUMER c msg=kafka dest=t messaging.operation=poll id=m1", 1),
        ("bill CLIENT c msg=kafka dest=t op=receive id=m1", 1),
        ("bill CLIENT c msg=kafka dest=t op=receive", 0),
        ("bill CLIENT c msg=kafka dest=t op=receive batch=0", 0),
        ("bill CLIENT c msg=kafka dest=t op=receive batch=4", 4),
        ("bill CONSUMER c msg=kafka dest=t messaging.operation=ack id=m1", 0),
        ("bill CLIENT c msg=aws_sqs dest=t messaging.operation.name=DeleteMessage id=m1", 0),
        ("bill CLIENT c msg=aws_sqs dest=t rpc.method=ReceiveMessage id=m1", 1),
        ("bill CONSUMER c name=recv", 0),
        ("bill CONSUMER c", 0),
        ("bill INTERNAL c msg=gcp_pubsub dest=s name='s process'", 1),
        ("bill INTERNAL c msg=gcp_pubsub dest=s name='s validate'", 0),
    ],
)
def test_what_counts_as_taken(line, counts):
    rows, flows = look([line])
    assert sum(row["messages"] for row in rows) == counts
    assert sum(taken(flows).values()) == counts


# ---------------------------------------------------------------------- what instrumentations really emit


INSTRUMENTATIONS = {
    "Java, Kafka, by default": (
        [
            "shop PRODUCER p messaging.system=kafka dest=t messaging.operation=publish partition=0 offset=7",
            "bill CONSUMER c<p messaging.system=kafka dest=t messaging.operation=process partition=0 offset=7 group=g",
        ],
        {("shop", "t", "bill/g", "parent"): 1},
    ),
    "Java with receive telemetry: receive and process in a trace of their own, both with a link": (
        [
            "shop PRODUCER a:p msg=kafka dest=t op=send",
            "bill CONSUMER b:r msg=kafka dest=t op=receive batch=1 ->a:p",
            "bill CONSUMER b:c<r msg=kafka dest=t op=process ->a:p",
        ],
        {("shop", "t", "bill", "link"): 1},
    ),
    "Python, confluent-kafka: a recv without attributes, a process below it with links": (
        [
            "shop PRODUCER a:p msg=kafka dest=t name='t send'",
            "bill CONSUMER b:r name=recv",
            "bill CONSUMER b:c<r msg=kafka dest=t name='t process' ->a:p",
        ],
        {("shop", "t", "bill", "link"): 1},
    ),
    "Python, confluent-kafka, consume(3): one span with three links": (
        [
            *(f"shop PRODUCER a{n}:p msg=kafka dest=t name='t send'" for n in range(3)),
            "bill CONSUMER b:r name=recv",
            "bill CONSUMER b:c<r msg=kafka dest=t name='t process' ->a0:p ->a1:p ->a2:p",
        ],
        {("shop", "t", "bill", "link"): 3},
    ),
    "Python, kafka-python: a receive below the producer, and the handler elsewhere": (
        [
            "shop PRODUCER p msg=kafka messaging.destination=t",
            "bill CONSUMER c<p msg=kafka messaging.destination=t name='t receive' messaging.kafka.partition=0",
        ],
        {("shop", "t", "bill", "parent"): 1},
    ),
    "Python, aiokafka, getmany of three: a poll, a span a partition, and one a record that is below its producer": (
        [
            *(f"shop PRODUCER a{n}:p msg=kafka dest=t op=send" for n in range(3)),
            "bill CONSUMER b:poll msg=kafka op=receive batch=3 name='t receive'",
            "bill CONSUMER b:part<poll msg=kafka dest=t op=receive batch=3 partition=0 ->a0:r ->a1:r ->a2:r",
            *(f"bill CONSUMER a{n}:r<p msg=kafka dest=t op=receive partition=0 messaging.kafka.message.offset={n}" for n in range(3)),
        ],
        {("shop", "t", "bill", "parent"): 3},
    ),
    "Python, aiokafka, getmany of records without a context: nested in one trace": (
        [
            "bill CONSUMER poll msg=kafka op=receive batch=2 name='t receive'",
            "bill CONSUMER part<poll msg=kafka dest=t op=receive batch=2 partition=0",
            *(f"bill CONSUMER r{n}<part msg=kafka dest=t op=receive partition=0 messaging.kafka.message.offset={n}" for n in range(2)),
        ],
        {("", "t", "bill", ""): 2},
    ),
    "Python, pika: a receive that wraps the handler": (
        [
            "shop PRODUCER p msg=rabbitmq messaging.destination=jobs messaging.temp_destination=true",
            "bill CONSUMER c<p msg=rabbitmq messaging.destination=jobs messaging.operation=receive",
            "bill CLIENT q<c db=postgresql",
        ],
        {("shop", "jobs", "bill", "parent"): 1},
    ),
    "Python, aio-pika: the names never match": (
        [
            "shop PRODUCER p msg=rabbitmq messaging.destination=exchange,key",
            "bill CONSUMER c<p msg=rabbitmq messaging.destination=exchange messaging.operation=receive",
        ],
        {("shop", "exchange", "bill", "parent"): 1},
    ),
    "Python, boto3sqs: a span an entry, a receive, and below it a process with a link": (
        [
            "shop PRODUCER a:p1 msg=aws.sqs dest=q messaging.url=https://sqs/1/q name='q send'",
            "shop PRODUCER a:p2 msg=aws.sqs dest=q messaging.url=https://sqs/1/q name='q send'",
            "bill CONSUMER b:r msg=aws.sqs dest=q op=receive name='q receive'",
            "bill CONSUMER b:c1<r msg=aws.sqs dest=q op=process id=m1 ->a:p1",
            "bill CONSUMER b:c2<r msg=aws.sqs dest=q op=process id=m2 ->a:p2",
        ],
        {("shop", "q", "bill", "link"): 2},
    ),
    "Python, boto3sqs whose handler failed: no process span, and orphans": (
        [
            "shop PRODUCER a:p msg=aws.sqs dest=q name='q send'",
            "bill CONSUMER b:r msg=aws.sqs dest=q op=receive name='q receive'",
            "bill CLIENT b:x<lost db=postgresql",
        ],
        {},
    ),
    "Python, botocore, SQS: CLIENT spans, nothing injected, joined by the message's id": (
        [
            "shop CLIENT a:p msg=aws.sqs messaging.url=https://sqs/1/q rpc.method=SendMessage messaging.message_id=m1",
            "bill CLIENT b:c msg=aws.sqs messaging.url=https://sqs/1/q rpc.method=ReceiveMessage messaging.message_id=m1",
        ],
        {("shop", "q", "bill", "message_id"): 1},
    ),
    "Python, celery: no system, the task's id is the message's": (
        [
            "shop PRODUCER a:p celery.action=apply_async messaging.destination=jobs messaging.message_id=t1",
            "bill CONSUMER b:c celery.action=run messaging.destination=jobs messaging.message_id=t1",
        ],
        {("shop", "jobs", "bill", "message_id"): 1},
    ),
    "Python, Pub/Sub: create, publish linked in both directions, subscribe below create, and an INTERNAL process": (
        [
            "shop PRODUCER a:k msg=gcp_pubsub dest=projects/p/topics/t messaging.operation=create ->b:s",
            "shop CLIENT b:s msg=com.google.cloud.pubsub.v1 dest=projects/p/topics/t messaging.operation=publish batch=1 ->a:k",
            "bill CONSUMER a:c<k msg=gcp_pubsub dest=sub name='sub subscribe'",
            "bill INTERNAL a:h<c msg=gcp_pubsub dest=sub name='sub process' ->a:k",
            "bill CLIENT b:x msg=gcp_pubsub dest=sub messaging.operation=ack ->a:c",
        ],
        {("shop", "sub", "bill", "link"): 1},
    ),
    "JavaScript, kafkajs, eachBatch: a receive with linked process spans below": (
        [
            *(f"shop PRODUCER a{n}:p msg=kafka dest=t op=send" for n in range(2)),
            "bill CONSUMER b:r msg=kafka dest=t op=receive batch=2",
            *(f"bill CONSUMER b:c{n}<r msg=kafka dest=t op=process ->a{n}:p" for n in range(2)),
        ],
        {("shop", "t", "bill", "link"): 2},
    ),
    "Push over HTTP: the parent is the SERVER span, the link names the producer": (
        [
            "shop PRODUCER a:p msg=gcp_pubsub dest=t op=send",
            "bill SERVER b:s route=/push",
            "bill CONSUMER b:c<s msg=gcp_pubsub dest=t op=process ->a:p",
        ],
        {("shop", "t", "bill", "link"): 1},
    ),
}


@pytest.mark.parametrize(("lines", "edges"), INSTRUMENTATIONS.values(), ids=INSTRUMENTATIONS)
def test_each_instrumentation_is_read_as_it_is_and_the_service_graph_counts_the_same(lines, edges):
    outcome = passes_of().run(spans(*lines).settled(), NOW)
    assert taken(outcome.flows) == edges
    drawn = {(key.client, key.server): counts.calls for key, counts in outcome.edges.items() if key.connection_type is ConnectionType.MESSAGING_SYSTEM}
    proven: Counter[tuple[str, str]] = Counter()
    for (producer, _, consumer, joined_by), number in edges.items():
        if joined_by in ("link", "parent"):
            proven[producer, consumer.split("/")[0]] += number
    assert drawn == proven


def test_pubsub_publishes_once_and_sqs_once_an_entry():
    assert sent(
        look(INSTRUMENTATIONS["Python, Pub/Sub: create, publish linked in both directions, subscribe below create, and an INTERNAL process"][0])[1]
    ) == {("shop", "projects/p/topics/t"): 1}
    assert sent(look(INSTRUMENTATIONS["Python, boto3sqs: a span an entry, a receive, and below it a process with a link"][0])[1]) == {("shop", "q"): 2}


# ---------------------------------------------------------------------- batches


BATCH = [f"shop PRODUCER a{n}:p msg=kafka dest=t op=send" for n in range(2)]


def test_the_remainder_of_a_batch_has_no_producer():
    rows, flows = look([*BATCH, "bill CONSUMER b:c msg=kafka dest=t op=process batch=5 ->a0:p[offset=1;partition=0] ->a1:p[offset=2;partition=0]"])
    assert taken(flows) == {("shop", "t", "bill", "link"): 2, ("", "t", "bill", ""): 3}
    assert [(r["link_position"], r["offset"], r["messages"]) for r in rows if r["role"] == "consumer"] == [(1, 1, 1), (2, 2, 1), (0, None, 3)]


def test_dropped_links_make_it_a_lower_bound():
    rows, flows = look([*BATCH, "bill CONSUMER b:c msg=kafka dest=t op=process dropped_links=7 ->a0:p ->a1:p"])
    assert taken(flows) == {("shop", "t", "bill", "link"): 2}
    assert all(r["at_least"] for r in rows if r["role"] == "consumer")
    assert sum(flows.column("at_least").to_pylist()) == 2


def test_three_consumers_of_one_message_are_three_edges_and_an_attempt_is_no_message():
    lines = ["shop PRODUCER p msg=kafka dest=t op=send", *(f"c{n} CONSUMER c{n}<p msg=kafka dest=t op=process group=g{n}" for n in range(3))]
    assert taken(look(lines)[1]) == {("shop", "t", f"c{n}/g{n}", "parent"): 1 for n in range(3)}
    again = [*lines[:2], "c0 CONSUMER again<p msg=kafka dest=t op=process group=g0 +50ms"]
    rows, flows = look([again[0], again[1] + " err", again[2]])
    assert taken(flows) == {("shop", "t", "c0/g0", "parent"): 1}
    assert sorted((r["messages"], r["error"]) for r in rows if r["role"] == "consumer") == [(0, True), (1, False)]


def test_a_receive_beside_a_process_of_the_same_message_is_no_second_one():
    lines = ["shop PRODUCER p msg=kafka dest=t op=send", "bill CONSUMER r<p msg=kafka dest=t op=receive", "bill CONSUMER c<p msg=kafka dest=t op=process err"]
    rows, flows = look(lines)
    assert taken(flows) == {("shop", "t", "bill", "parent"): 1}
    assert [(r["messages"], r["error"]) for r in rows if r["role"] == "consumer"] == [(0, False), (1, True)]


def test_what_a_whole_batch_was_sent_with_joins_the_send_and_each_message_counts():
    sent_together = "shop PRODUCER p msg=kafka dest=t op=send"
    taken_alone = [f"bill CONSUMER c{n}<p msg=kafka dest=t op=process" for n in range(3)]
    assert taken(look([sent_together, *taken_alone])[1]) == {("shop", "t", "bill", "parent"): 3}
    with_ids = [f"{line} id=m{n % 2}" for n, line in enumerate(taken_alone)]
    assert taken(look([f"{sent_together} batch=2", *with_ids])[1]) == {("shop", "t", "bill", "parent"): 2}


# ---------------------------------------------------------------------- joins that must not be made, and what is known of sampling


def test_a_link_whose_target_did_not_come_names_a_span_and_nobody():
    row = of_one("bill CONSUMER c msg=kafka dest=t op=process ->lost:p[flags=0x2]")
    assert (row["producer_name"], row["joined_by"], row["messages"]) == ("", "", 1)
    assert row["producer_span_id"] == span_id("p")


def test_a_link_to_a_span_of_the_store_joins_as_one_of_the_pass_does():
    rows, flows = look(
        ["bill CONSUMER b:c msg=kafka dest=t op=process ->a:p ~1ms +40ms"],
        Elsewhere("sales/shop PRODUCER a:p messaging.system=kafka messaging.destination=u op=send v=4 ~10ms"),
    )
    assert taken(flows) == {("shop", "t", "bill", "link"): 1}
    (row,) = rows
    assert (row["producer_namespace"], row["producer_destination"], row["message_schema_version"], row["delay_nano"]) == ("sales", "u", "4", 30_000_000)


@pytest.mark.parametrize(
    ("lines", "edges"),
    [
        (["shop PRODUCER a:p {r} id=m", "shop PRODUCER b:p {r} id=m", "bill CONSUMER c:c {r} id=m"], {("", "q", "bill", ""): 1}),
        (["shop PRODUCER a:p {r} id=m", "bill CONSUMER c:c msg=rabbitmq dest=other id=m"], {("", "other", "bill", ""): 1}),
        (["shop PRODUCER a:p {k} partition=1 offset=-1", "bill CONSUMER c:c {k} partition=1 offset=-1"], {("", "q", "bill", ""): 1}),
        (["shop PRODUCER a:p {k} partition=1 offset=3", "bill CONSUMER c:c {k} partition=2 offset=3"], {("", "q", "bill", ""): 1}),
        (
            ["shop PRODUCER a:p {k} partition=1 offset=3 addr=east:9092", "bill CONSUMER c:c {k} partition=1 offset=3 addr=west:9092"],
            {("", "q", "bill", ""): 1},
        ),
        (
            [
                "shop PRODUCER a:p {k} partition=1 offset=3 addr=east:9092",
                "shop PRODUCER b:p {k} partition=1 offset=3 addr=west:9092",
                "bill CONSUMER c:c {k} messaging.kafka.partition=1 messaging.kafka.message.offset=3 addr=west:9092",
            ],
            {("shop", "q", "bill", "offset"): 1},
        ),
        (
            ["shop PRODUCER a:p {k} messaging.message.conversation_id=1", "bill CONSUMER c:c {k} messaging.message.conversation_id=1"],
            {("", "q", "bill", ""): 1},
        ),
        (["bill PRODUCER a:p {k} op=send", "bill CONSUMER a:c {k} op=process ->a:p"], {("", "q", "bill", ""): 1}),
        (["shop SERVER a:s", "bill CONSUMER b:c {k} op=process ->a:s"], {("", "q", "bill", ""): 1}),
    ],
    ids=[
        "two publications have the message's id",
        "the id is of another channel",
        "offset -1 is unknown",
        "another partition",
        "the same topic on another cluster",
        "the same topic on two clusters, each its own",
        "conversation ids",
        "a link within one service and trace is internal",
        "a link to a span that publishes nothing",
    ],
)
def test_what_proves_nothing_joins_nothing(lines, edges):
    words = {"r": "msg=rabbitmq dest=q", "k": "msg=kafka dest=q"}
    assert taken(look([line.format(**words) for line in lines])[1]) == edges


@pytest.mark.parametrize(
    ("state", "probability"),
    [
        ("", None),
        ("ot=th:0", 1.0),
        ("ot=th:8", 0.5),
        ("ot=th:e666", 0.100006103515625),
        ("ot=th:e666;rv:ffffffffffffff", 0.100006103515625),
        ("ot=th:e666;rv:00000000000001", None),
        ("vendor=th:8", None),
    ],
)
def test_the_probability_is_what_the_threshold_says_unless_its_randomness_refutes_it(state, probability):
    row = of_one(f"bill CONSUMER 000000000000000000ffffffffffffff:c msg=kafka dest=t op=process {f'state={state}' if state else ''}")
    assert row["probability"] == probability


def test_what_was_published_long_before_or_was_in_dead_letters_is_replayed():
    old = ["shop PRODUCER a:p msg=kafka dest=t op=send", "bill CONSUMER b:c msg=kafka dest=t op=process ->a:p +240h"]
    assert [r["replayed"] for r in look(old)[0]] == [False, True]
    queued = of_one(f"bill CONSUMER c msg=kafka dest=t op=process kafka.record.queue_time_ms={10 * 86_400_000}")
    assert queued["replayed"]
    moved = ["fix CONSUMER c msg=kafka dest=t.dlq op=process", "fix PRODUCER p<c msg=kafka dest=t op=send"]
    assert {r["role"]: r["replayed"] for r in look(moved)[0]} == {"consumer": False, "producer": True}


def test_identity_is_the_first_of_what_tells_messages_apart():
    words = "bill CONSUMER c msg=kafka dest=t op=process addr=b"
    kinds = [
        (" cloudevents.event_id=1 cloudevents.event_source=s id=m partition=0 offset=4", ("cloudevents", "s/1")),
        (" id=m partition=0 offset=4", ("offset", "b/t/0/4")),
        (" id=m", ("message_id", "m")),
        ("", ("", "")),
    ]
    for more, identity in kinds:
        row = of_one(words + more)
        assert (row["identity_kind"], row["identity"]) == identity


def test_a_span_that_stands_twice_is_one_and_a_span_without_a_name_has_its_callers():
    lines = ["shop PRODUCER p msg=kafka dest=t op=send", "- CONSUMER c<p msg=kafka dest=t op=process", "- CONSUMER c<p msg=kafka dest=t op=process name=again"]
    assert taken(look(lines)[1]) == {("shop", "t", "shop", "parent"): 1}
