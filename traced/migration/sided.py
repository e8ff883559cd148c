"""Messages of a pass by the migrations that they are of: what the detectors of migrations read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from traced.migration.belonging import Stand, Use, nameless, stand, use
from traced.migration.inventory import Identity, find_listed
from traced.migration.kinds import kind_numbers
from traced.model.messages import KIND, Role
from traced.model.migration import Migration
from traced.model.verdict import MigrationReport

Mask = npt.NDArray[np.bool_]

_PROOFS: Final = {Use.USED: "used", Use.NOT_USED: "not_used", Use.UNPROVEN: "unproven"}
_OF_MESSAGE: Final[list[tuple[str, pa.DataType]]] = [
    ("trace_id_high", pa.uint64()),
    ("trace_id_low", pa.uint64()),
    ("span_id", pa.uint64()),
    ("name", pa.string()),
    ("role", pa.string()),
    ("environment", pa.string()),
    ("service_namespace", pa.string()),
    ("service_name", pa.string()),
    ("consumer_group", pa.string()),
    ("service_version", pa.string()),
    ("service_instance_id", pa.string()),
    ("destination", pa.string()),
    ("dead_letter", pa.bool_()),
    ("producer_name", pa.string()),
    ("message_schema_version", pa.string()),
    ("version_key", pa.string()),
    ("error", pa.bool_()),
    ("replayed", pa.bool_()),
    ("tombstone", pa.bool_()),
    ("identity", pa.string()),
    ("identity_kind", pa.string()),
    ("at_least", pa.bool_()),
    ("time_unix_nano", pa.int64()),
]
_OF_MIGRATION: Final[list[tuple[str, pa.DataType]]] = [
    ("migration", pa.string()),
    ("shape", pa.string()),
    ("side", pa.string()),
    ("proof", pa.string()),
    ("counts", pa.bool_()),
    ("was_quiet", pa.bool_()),
    ("sends_only_old", pa.bool_()),
    ("cutoff_unix_nano", pa.int64()),
]
MIGRATING: Final = pa.schema([*_OF_MESSAGE, ("complete", pa.bool_()), *_OF_MIGRATION])
"""One row for each message of a pass and each migration that it is of: the columns of MESSAGES, and

`complete`: its trace lacks nothing that is known. `side`: old, new or unknown. `proof`: of a consumption what it proves: used, not_used, unproven; else ''.
`counts`: false where the list says that the consumer is a relay, or excluded. `was_quiet`: the consumer had no old use for a whole window (`Habits`).
`sends_only_old`: the producer is known never to send the new schema. `cutoff_unix_nano`: 0 where none is configured.
"""

LEAST_MESSAGES: Final = 20
"""So many old messages, and no new one, say of a producer that it never sends the new schema."""


@dataclass(frozen=True, slots=True)
class Habits:
    """What the latest reports say of who takes and sends what.

    Attributes:
        quiet: (migration, consumer's name) without old use in its window, of migrations whose window is long enough.
        only_old: (migration, service) of producers that send the old schema and never the new.
    """

    quiet: frozenset[tuple[str, str]] = field(default_factory=frozenset)
    only_old: frozenset[tuple[str, str]] = field(default_factory=frozenset)


def habits(reports: Iterable[MigrationReport]) -> Habits:
    """Read from reports what detectors have to know of more than a pass."""
    quiet, only_old = set(), set()
    for report in reports:
        gate = report.gates[0]
        old_users = {one.consumer for one in report.consumers if one.side == Stand.OLD}
        if gate.listened_seconds >= gate.needed_seconds - 1:
            quiet |= {(report.name, one.consumer) for one in report.consumers if one.consumer not in old_users}
        only_old |= {(report.name, one.service) for one in report.producers if one.publishes == "old" and one.old_messages >= LEAST_MESSAGES}
    return Habits(frozenset(quiet), frozenset(only_old))


NO_HABITS: Final = Habits()


def migrating(migrations: Sequence[Migration], messages: pa.Table, complete: Mask, known: Habits = NO_HABITS) -> pa.Table:
    """Give the messages of a pass that are of migrations, as rows of MIGRATING.

    Args:
        migrations: as they are configured.
        messages: rows with the columns of MESSAGES.
        complete: which of them are of traces that lack nothing.
        known: what is known of more than the pass.
    """
    if not (migrations and messages.num_rows):
        return MIGRATING.empty_table()
    numbers, firsts = kind_numbers(messages)
    columns = messages.select(list(KIND)).take(pa.array(firsts)).to_pylist()
    parts = []
    for migration in migrations:
        said = [_of_kind(migration, {n: "" if v is None and n != "probability" else v for n, v in kind.items()}, known) for kind in columns]
        chosen = np.array([one is not None for one in said])[numbers]
        rows = np.flatnonzero(chosen)
        if len(rows):
            parts.append(_rows(messages.take(pa.array(rows)), complete[rows], [said[number] or {} for number in numbers[rows]]))
    return pa.concat_tables(parts) if parts else MIGRATING.empty_table()


def _of_kind(migration: Migration, kind: dict[str, Any], known: Habits) -> dict[str, Any] | None:
    """Say what a migration says of a kind of messages; None where they are none of its own."""
    side = stand(migration, kind)
    takes = kind["role"] == Role.CONSUMER
    who = Identity(kind["environment"], kind["service_namespace"], kind["service_name"], kind["consumer_group"])
    listed, _ = find_listed(migration.consumers, who)
    if side is None and takes and listed is not None and nameless(migration, kind):
        side = Stand.UNKNOWN
    if side is None or side is Stand.OTHER:
        return None
    return {
        "migration": migration.name,
        "shape": str(migration.shape),
        "side": str(side),
        "proof": _PROOFS[use(migration, kind, side)] if takes else "",
        "counts": listed is None or not (listed.relay or listed.excluded),
        "was_quiet": takes and (migration.name, who.name) in known.quiet,
        "sends_only_old": not takes and (migration.name, who.service) in known.only_old,
        "cutoff_unix_nano": int((migration.cutoff_unix_seconds or 0.0) * 1e9),
    }


def _rows(messages: pa.Table, complete: Mask, said: Sequence[dict[str, Any]]) -> pa.Table:
    own = [messages.column(name).cast(kind) for name, kind in _OF_MESSAGE]
    filled = [pc.fill_null(column, "") if pa.types.is_string(column.type) else column for column in own]
    return pa.table([*filled, pa.array(complete), *(pa.array([one[name] for one in said], kind) for name, kind in _OF_MIGRATION)], schema=MIGRATING)
