"""Messages and calls by schema version: one row for each that was sent or taken, and how many of a kind there were in each minute.

Rows outlive spans, because a verdict about a migration needs weeks; what is counted by minute outlives the rows. Calls of HTTP and RPC are here too, where a
migration of their contract asks for them: then who calls is the consumer of the schema, and who answers is its producer.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import pyarrow as pa


class Role(StrEnum):
    """On which side of a schema a service stands."""

    PRODUCER = "producer"
    CONSUMER = "consumer"


class JoinedBy(StrEnum):
    """How a consumption was joined with its publication; the first that answers counts."""

    LINK = "link"
    PARENT = "parent"
    MESSAGE_ID = "message_id"
    OFFSET = "offset"
    NOTHING = ""


class VersionSource(StrEnum):
    """Where a version was read; see `DIRECT`."""

    ATTRIBUTE = "attribute"
    """An attribute of the span: what the code used."""
    LINK = "link"
    """The same attribute of a span link."""
    HEADER = "header"
    """A captured header: what was delivered."""
    CLOUDEVENTS = "cloudevents"
    """The suffix of `cloudevents.event_type`."""
    DESTINATION = "destination"
    """The name of the destination."""
    ROUTE = "route"
    """A route, a path, a media type or the package of an RPC's method."""
    INHERITED = "inherited"
    """From the publication: what was published, not what was used."""
    NOTHING = ""
    """No source answered, or direct ones disagree: the version is unknown."""


DIRECT: Final = frozenset(VersionSource) - {VersionSource.INHERITED, VersionSource.NOTHING}

DELAY_BUCKETS_SECONDS: Final[tuple[float, ...]] = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0)
"""Upper bounds of the histogram of delays from publication to consumption: brokers deliver in milliseconds, and keep messages for days."""

_WHO: Final[list[tuple[str, pa.DataType]]] = [
    ("role", pa.string()),
    ("environment", pa.string()),
    ("service_namespace", pa.string()),
    ("service_name", pa.string()),
    ("consumer_group", pa.string()),
    ("system", pa.string()),
    ("destination", pa.string()),
    ("dead_letter", pa.bool_()),
    ("producer_namespace", pa.string()),
    ("producer_name", pa.string()),
    ("producer_destination", pa.string()),
    ("joined_by", pa.string()),
    ("message_schema_version", pa.string()),
    ("version_source", pa.string()),
    ("version_key", pa.string()),
    ("disposition", pa.string()),
    ("probability", pa.float64()),
    ("error", pa.bool_()),
    ("replayed", pa.bool_()),
    ("tombstone", pa.bool_()),
]

MESSAGES: Final = pa.schema(
    [
        *_WHO,
        ("trace_id_high", pa.uint64()),
        ("trace_id_low", pa.uint64()),
        ("span_id", pa.uint64()),
        ("link_position", pa.int32()),
        ("service_version", pa.string()),
        ("service_instance_id", pa.string()),
        ("name", pa.string()),
        ("producer_trace_id_high", pa.uint64()),
        ("producer_trace_id_low", pa.uint64()),
        ("producer_span_id", pa.uint64()),
        ("message_id", pa.string()),
        ("identity", pa.string()),
        ("identity_kind", pa.string()),
        ("partition", pa.string()),
        ("offset", pa.int64()),
        ("delivery_attempt", pa.int32()),
        ("messages", pa.int64()),
        ("at_least", pa.bool_()),
        ("time_unix_nano", pa.int64()),
        ("delay_nano", pa.int64()),
        ("arrival_time_unix_nano", pa.int64()),
    ],
)
"""One row for each publication and each consumption; the schema of `messages-*.parquet` and of the view `messages`. Texts are '' where nothing is known.

`environment`: deployment.environment.name. `consumer_group`: of a consumer its group, or its subscription; '' where its queue says who it is.
`destination`: of the span itself; `producer_destination` what the producer's span calls it. Of a call: who answers, and the route as it is configured.
`dead_letter`: the destination holds dead letters, or retries. `producer_*`: of a consumption, who published it, and by which span (0 where that is not
known); of a publication its own. `version_key`: the attribute or name that gave the version. `disposition`: 'handled', 'ignored' or ''. `probability`: with
which the span's trace was kept as its spans say (0 < p <= 1); null where they do not. `replayed`: published long before, or taken back out of dead letters.
`tombstone`: it deletes, and has no schema. `link_position`: which of a batch's links, from 1; 0 where the span is of one message.
`identity`: what tells this message from others, and `identity_kind` how that is known: business_key, cloudevents, offset, message_id, span, or ''.
`messages`: how many messages the row stands for: 1, or what is left of a batch; 0 of an attempt at a message that another row of the trace stands for.
`at_least`: links were dropped, there may have been more.
`time_unix_nano`: when it was published (end of the span) or taken (start). `delay_nano`: from publication to consumption, by two clocks; null where unknown.
"""

FLOWS: Final = pa.schema(
    [
        ("minute", pa.int64()),
        *_WHO,
        ("messages", pa.int64()),
        ("traces", pa.int64()),
        ("at_least", pa.int64()),
        ("delays", pa.int64()),
        ("delay_sum_seconds", pa.float64()),
        ("delay_buckets", pa.list_(pa.int64())),
        ("first_time_unix_nano", pa.int64()),
        ("last_time_unix_nano", pa.int64()),
        ("trace_id_high", pa.uint64()),
        ("trace_id_low", pa.uint64()),
        ("span_id", pa.uint64()),
    ],
)
"""How many messages of a kind there were in a minute (unix) of arrival; the schema of `flows-*.parquet` and of the view `message_flows`.

`traces`: how many traces there were in which the first row of this role, service (with environment and namespace), group, destination and version was of this
kind (of those that stand for messages, where there are any): so that they may be added up over all else that tells kinds apart, and no trace counts twice.
`at_least`: rows of which there may have been more messages.
Late spans change what was counted: then there are rows with negative counts in the minute in which it was; add up, and leave out what is not above zero.
`delays`, `delay_sum_seconds`, `delay_buckets`: a histogram (DELAY_BUCKETS_SECONDS, one more for +Inf) of delays; negative ones are left out.
`trace_id_*`, `span_id`: one of them.
"""

KIND: Final[tuple[str, ...]] = tuple(name for name, _ in _WHO)
"""The columns that tell kinds of messages apart."""
