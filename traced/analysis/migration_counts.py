"""How many messages of each configured migration came, by role, service and version: counts that only grow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import pyarrow as pa

from traced.migration.belonging import Stand, stand
from traced.model.messages import KIND
from traced.model.migration import Migration

MAX_VERSIONS: Final = 20
"""Versions of one migration and role that are counted by name; they come from the data, so that there may be any number."""
OTHER: Final = "other"
_NEEDED: Final = tuple(name for name in KIND if name not in ("probability", "producer_namespace", "joined_by", "version_key", "error", "replayed"))

Key = tuple[str, str, str, str]
"""Migration, role, service, version ('' where it is not known)."""


class MigrationCounts:
    """Counts sampled messages; late spans take back what was counted of another kind, and what is shown never falls for that."""

    def __init__(self, migrations: Iterable[Migration]) -> None:
        """Start with none."""
        self._migrations = tuple(migrations)
        self._counted: dict[Key, int] = {}
        self.shown: dict[Key, int] = {}
        """The largest count that there ever was of each."""

    def add(self, flows: pa.Table) -> None:
        """Count what a pass yielded, as FLOWS."""
        if not flows.num_rows:
            return
        together = flows.select([*_NEEDED, "messages"]).group_by(list(_NEEDED)).aggregate([("messages", "sum")])
        for row in together.to_pylist():
            columns = {name: value if value is not None else "" for name, value in row.items()}
            for migration in self._migrations:
                side = stand(migration, columns)
                if side is not None and side is not Stand.OTHER:
                    self._count(migration.name, columns, int(row["messages_sum"]))

    def _count(self, name: str, columns: Mapping[str, Any], messages: int) -> None:
        key = (name, columns["role"], columns["service_name"], columns["message_schema_version"])
        if key not in self._counted and len({version for *of, version in self._counted if of[:2] == [name, columns["role"]]} - {key[3]}) >= MAX_VERSIONS:
            key = (*key[:3], OTHER)
        self._counted[key] = self._counted.get(key, 0) + messages
        self.shown[key] = max(self.shown.get(key, 0), self._counted[key])

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> list[list[Any]]:
        """Give the counts as JSON values."""
        return [[*key, count, self.shown[key]] for key, count in self._counted.items()]

    def load(self, state: Iterable[list[Any]]) -> None:
        """Take what `dump` gave before a restart; what belongs to a migration that is not configured any more is left out.

        Raises:
            ValueError, TypeError: this is no such state; nothing was taken.
        """
        names = {migration.name for migration in self._migrations}
        rows = [((str(name), str(role), str(service), str(version)), int(count), int(shown)) for name, role, service, version, count, shown in state]
        self._counted = {key: count for key, count, _ in rows if key[0] in names}
        self.shown = {key: shown for key, _, shown in rows if key[0] in names}
