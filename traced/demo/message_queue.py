"""A durable queue in a SQLite file: every consumer group gets every message, at least once."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol

MAX_OUTSTANDING: Final = 10_000
VISIBILITY_SECONDS: Final = 30.0
MAX_ATTEMPTS: Final = 5

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS message (message_id TEXT PRIMARY KEY, destination TEXT NOT NULL, headers TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS delivery (
    delivery_id INTEGER PRIMARY KEY,
    message_id TEXT NOT NULL REFERENCES message,
    destination TEXT NOT NULL,
    consumer_group TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    visible_at REAL NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS delivery_of_group ON delivery (destination, consumer_group, delivery_id);
CREATE INDEX IF NOT EXISTS delivery_of_message ON delivery (message_id);
"""
_NEXT: Final = """
SELECT delivery_id, message_id, attempts, headers, body FROM delivery JOIN message USING (message_id)
WHERE delivery.destination = ? AND consumer_group = ? AND visible_at <= ? ORDER BY delivery_id LIMIT 1
"""


class QueueFullError(OSError):
    """So many messages wait that no further one is taken."""


@dataclass(frozen=True, slots=True)
class Message:
    """One delivery of a message to one consumer group.

    Attributes:
        delivery_id: what `acknowledge` wants.
        message_id: the same for every group and every attempt.
        headers: as published; they carry the producer's context.
        body: JSON.
        attempt: 1 for the first delivery.
    """

    delivery_id: int
    message_id: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    attempt: int


class Broker(Protocol):
    """What the shop asks of a message broker; `MessageQueue` is one, and others may take its place."""

    def publish(self, destination: str, message_id: str, headers: Mapping[str, str], body: dict[str, Any]) -> None:
        """Send a message to every group that is subscribed to its destination."""

    def receive(self, destination: str, group: str, *, wait_seconds: float) -> Message | None:
        """Take a group's next message; None if there is none for so long."""

    def acknowledge(self, message: Message) -> None:
        """Forget a delivery that was processed."""

    def subscribe(self, destination: str, group: str) -> None:
        """Give a group what is published from now on; once is enough."""

    def unsubscribe(self, destination: str, group: str) -> None:
        """Give a group no more of what is published; what waits for it stays."""

    @property
    def outstanding(self) -> int:
        """Deliveries that no consumer has acknowledged."""

    def close(self) -> None:
        """Close the connection; what is outstanding stays."""


class MessageQueue:
    """Queues by destination name, each with its consumer groups.

    Attributes:
        given_up: deliveries dropped after MAX_ATTEMPTS.
    """

    def __init__(self, path: Path, groups: Mapping[str, tuple[str, ...]] = MappingProxyType({})) -> None:
        """Open or create the file.

        Args:
            path: the SQLite file; what an earlier run left in it is delivered.
            groups: consumer groups by destination; others subscribe.

        Raises:
            sqlite3.Error: the file cannot be opened, or is no such file.
        """
        self._groups = {destination: list(names) for destination, names in groups.items()}
        self._changed = threading.Condition()
        # One connection behind one lock: the shop's few messages a second need no more.
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(_SCHEMA)
            self._outstanding: int = self._connection.execute("SELECT count(*) FROM delivery").fetchone()[0]
        except sqlite3.Error:
            self._connection.close()
            raise
        self.given_up = 0

    def publish(self, destination: str, message_id: str, headers: Mapping[str, str], body: dict[str, Any]) -> None:
        """Store a message for every group of its destination.

        Raises:
            QueueFullError: MAX_OUTSTANDING deliveries wait; nothing was stored.
        """
        with self._changed:
            groups = self._groups.get(destination, [])
            if self._outstanding + len(groups) > MAX_OUTSTANDING:
                raise QueueFullError(f"{self._outstanding} deliveries wait")
            if not groups:
                return
            self._connection.execute("BEGIN")
            with self._connection:  # commits, or rolls back
                self._connection.execute("INSERT INTO message VALUES (?, ?, ?, ?)", (message_id, destination, json.dumps(dict(headers)), json.dumps(body)))
                self._connection.executemany(
                    "INSERT INTO delivery (message_id, destination, consumer_group) VALUES (?, ?, ?)",
                    [(message_id, destination, group) for group in groups],
                )
            self._outstanding += len(groups)
            self._changed.notify_all()

    def receive(self, destination: str, group: str, *, wait_seconds: float) -> Message | None:
        """Take the group's next message and hide it for VISIBILITY_SECONDS; None if there is none for so long."""
        deadline = time.monotonic() + wait_seconds
        with self._changed:
            while True:
                message = self._take(destination, group)
                remaining = deadline - time.monotonic()
                if message is not None or remaining <= 0:
                    return message
                self._changed.wait(remaining)

    def acknowledge(self, message: Message) -> None:
        """Forget a delivery that was processed."""
        with self._changed:
            self._forget(message.delivery_id, message.message_id)

    def subscribe(self, destination: str, group: str) -> None:
        """Give a group what is published from now on; once is enough."""
        with self._changed:
            groups = self._groups.setdefault(destination, [])
            if group not in groups:
                groups.append(group)

    def unsubscribe(self, destination: str, group: str) -> None:
        """Give a group no more of what is published; what waits for it stays."""
        with self._changed:
            if group in self._groups.get(destination, ()):
                self._groups[destination].remove(group)

    @property
    def outstanding(self) -> int:
        """Deliveries that no consumer has acknowledged."""
        with self._changed:
            return self._outstanding

    def close(self) -> None:
        """Close the file; what is outstanding stays in it."""
        with self._changed:
            self._connection.close()

    def _take(self, destination: str, group: str) -> Message | None:
        now = time.time()
        row = self._connection.execute(_NEXT, (destination, group, now)).fetchone()
        if row is None:
            return None
        delivery_id, message_id, attempts, headers, body = row
        if attempts >= MAX_ATTEMPTS:
            self._forget(delivery_id, message_id)
            self.given_up += 1
            return None
        self._connection.execute(
            "UPDATE delivery SET attempts = attempts + 1, visible_at = ? WHERE delivery_id = ?",
            (now + VISIBILITY_SECONDS, delivery_id),
        )
        return Message(delivery_id, message_id, json.loads(headers), json.loads(body), attempts + 1)

    def _forget(self, delivery_id: int, message_id: str) -> None:
        self._connection.execute("BEGIN")
        with self._connection:
            removed = self._connection.execute("DELETE FROM delivery WHERE delivery_id = ?", (delivery_id,)).rowcount
            self._connection.execute(
                "DELETE FROM message WHERE message_id = ? AND NOT EXISTS (SELECT 1 FROM delivery WHERE message_id = ?)",
                (message_id, message_id),
            )
        self._outstanding -= removed
        self._changed.notify_all()
