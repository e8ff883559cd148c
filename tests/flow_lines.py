"""Message flows from one-line texts, so that a scenario is a few readable lines.

    SERVICE[:group] sends|takes DESTINATION[#VERSION] [words]

    order sends orders.v1 x400              400 messages, each in a trace of its own, spread evenly over the last 14 days
    billing takes orders#2 x400 handled     version 2 on `orders`, and the consumer says that it handled them

Further words, in any order:

    xN                      how many messages (1 without)
    -20d..-6d, -3h          when they arrived: spread over a time before now, or at one moment; else -14d..-0d, and a single message an hour ago
    traces=N                in so many traces; else each in its own
    p=0.1, p=?              with which probability the traces are kept, or that nobody says; else 1
    handled, ignored, error, replayed, dlq, tombstone
    env=, ns=, system=, source=, joined=, from=DESTINATION    columns; `from` is what the producer calls the destination
    minus                   they are taken back
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import pyarrow as pa

from traced.config.migrations import MigrationSettings, check_together
from traced.migration.case import Seen
from traced.model.capture import Capture, Interval
from traced.model.messages import DELAY_BUCKETS_SECONDS, FLOWS
from traced.model.migration import Migration

NOW = 1_800_000_000
"""When verdicts are asked for; a whole minute, and a whole hour."""
DAY = 86400
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": DAY}
_TIME = re.compile(r"^-(\d+(?:\.\d+)?)([smhd])(?:\.\.-(\d+(?:\.\d+)?)([smhd]))?$")
_COLUMNS = {
    "env": "environment",
    "ns": "service_namespace",
    "system": "system",
    "source": "version_source",
    "joined": "joined_by",
    "from": "producer_destination",
}
_FLAGS = {"error": "error", "replayed": "replayed", "dlq": "dead_letter", "tombstone": "tombstone"}
_MOST_ROWS = 400


def rows(line: str) -> list[dict[str, Any]]:
    """Read one line to rows of FLOWS."""
    who, verb, place, *words = shlex.split(line)
    service, _, group = who.partition(":")
    destination, _, version = place.partition("#")
    row: dict[str, Any] = {name: "" if pa.types.is_string(FLOWS.field(name).type) else 0 for name in FLOWS.names}
    row |= {"delay_buckets": [0] * (len(DELAY_BUCKETS_SECONDS) + 1), "delay_sum_seconds": 0.0, "probability": 1.0}
    row |= dict.fromkeys(("dead_letter", "error", "replayed", "tombstone"), False)
    row |= {"role": {"sends": "producer", "takes": "consumer"}[verb], "service_name": service, "consumer_group": group}
    row |= {"destination": destination, "message_schema_version": version, "version_source": "attribute" if version else "destination"}
    messages, traces, since, until, sign = 1, -1, None, 0.0, 1
    for word in words:
        key, equals, value = word.partition("=")
        if re.fullmatch(r"x\d+", word):
            messages = int(word[1:])
        elif match := _TIME.match(word):
            since = float(match[1]) * _UNITS[match[2]]
            until = float(match[3]) * _UNITS[match[4]] if match[3] else since
        elif word == "minus":
            sign = -1
        elif word in ("handled", "ignored"):
            row["disposition"] = word
        elif word in _FLAGS:
            row[_FLAGS[word]] = True
        elif key == "p":
            row["probability"] = None if value == "?" else float(value)
        elif key == "traces":
            traces = int(value)
        else:
            assert equals, f"not a word of a flow: {word!r}"
            row[_COLUMNS[key]] = value
    if since is None:
        since, until = (14.0 * DAY, 0.0) if messages > 1 else (3600.0, 3600.0)
    return list(_spread(row, messages, messages if traces < 0 else traces, (since, until), sign))


def _spread(row: dict[str, Any], messages: int, traces: int, times: tuple[float, float], sign: int) -> Iterator[dict[str, Any]]:
    count = min(messages, _MOST_ROWS)
    for place in range(count):
        at = NOW - times[0] + (times[0] - times[1]) * place / count
        parts = [(total * (place + 1)) // count - (total * place) // count for total in (messages, traces)]
        digest = hashlib.blake2b(f"{sorted(map(str, row.items()))}{place}".encode(), digest_size=24).digest()
        ids = [int.from_bytes(digest[n : n + 8], "big") for n in (0, 8, 16)]
        yield row | {
            "minute": int(at // 60),
            "messages": sign * parts[0],
            "traces": sign * parts[1],
            "first_time_unix_nano": int(at) * 10**9,
            "last_time_unix_nano": int(at) * 10**9,
            "trace_id_high": ids[0],
            "trace_id_low": ids[1],
            "span_id": ids[2],
        }


def flows(lines: Sequence[str]) -> pa.Table:
    """Read lines to a table of FLOWS."""
    return pa.concat_tables([_table(line) for line in lines]) if lines else FLOWS.empty_table()


@cache
def _table(line: str) -> pa.Table:
    return pa.Table.from_pylist(rows(line), schema=FLOWS)


def services(lines: Sequence[str]) -> dict[str, float]:
    """Name the services of some lines, as seen just now."""
    return {shlex.split(line)[0].partition(":")[0]: float(NOW) for line in lines}


LISTENED = Capture((Interval(NOW - 400.0 * DAY, float(NOW)),))


def seen(lines: Sequence[str], capture: Capture = LISTENED, *, without: Sequence[str] = (), more: Sequence[str] = ()) -> Seen:
    """Give what is known beside the messages: all services of the lines were seen just now."""
    known = {name: at for name, at in services(lines).items() if name not in without} | dict.fromkeys(more, float(NOW))
    return Seen(capture, known, float(NOW))


def migration(settings: dict[str, Any], *others: dict[str, Any]) -> Migration:
    """Read a migration as the configuration file would, among others."""
    every = check_together(tuple(MigrationSettings.model_validate(one) for one in (settings, *others)))
    return every[0].noun(every)
