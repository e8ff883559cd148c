"""A dual-publish migration of the shop's orders through its five steps: what is published, and who reads what, at each.

It needs no OpenTelemetry SDK: the terminal and the tests read it too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from threading import Lock
from typing import Any, Final

NAME: Final = "order-created-v2"
"""The migration's name in the configuration that the demo runs with."""


@dataclass(frozen=True, slots=True)
class Schema:
    """One schema of the message that says that there is an order.

    Attributes:
        destination: where messages of it are published.
        version: what spans say of it, as `message.schema.version`.
    """

    destination: str
    version: str


OLD: Final = Schema("orders", "1")
NEW: Final = Schema("orders.v2", "2")


class Step(IntEnum):
    """The steps of a dual-publish migration."""

    ADD = 1
    PUBLISH_BOTH = 2
    MOVE = 3
    VERIFY = 4
    REMOVE = 5


WHAT_HAPPENS: Final = {
    Step.ADD: "order publishes the old schema; the new one is agreed upon, and every message says which version it is",
    Step.PUBLISH_BOTH: "order publishes each message in both schemas; everybody still reads the old one",
    Step.MOVE: "billing and reports read the new schema; shipping is left behind, and nobody sees what fax reads: it has no instrumentation",
    Step.VERIFY: "shipping reads the new schema too, and fax is decommissioned; reports runs so rarely that nobody knows yet whether it has really moved",
    Step.REMOVE: "order publishes the new schema only",
}

REPORTS_EVERY_SECONDS: Final = 20.0
"""The shop's week: so often reports takes what has come."""
REPORTS_AT_LEAST_EVERY_SECONDS: Final = 25
"""What the configuration says of it."""
REPORTS_SAMPLED: Final = 0.5
"""With which probability its traces are kept, as its configuration says too: one run without old messages proves less, so that it takes more of them."""
OTHERS_AT_LEAST_EVERY_SECONDS: Final = 10
WINDOW_SECONDS: Final = 60
MAX_UNSEEN_SHARE: Final = 0.1
"""So much of what a consumer takes may be old and unseen; the shop's customers are few, and a person waits."""

STEP_SECONDS: Final = {Step.ADD: 20.0, Step.PUBLISH_BOTH: 20.0, Step.MOVE: 40.0}
"""How long a step takes; the one after these until the old schema may stop being published."""


@dataclass(frozen=True, slots=True)
class Reader:
    """How a consumer takes part.

    Attributes:
        service: its name, which is its group's name.
        moves_at: the step from which it reads the new schema; None where it never does.
        ends_at: the step from which it does not run any more; None where it always runs.
        every_seconds: how often it takes what has come; 0 where it takes messages at once.
        reports: it sends spans.
        sampled: with which probability it keeps its traces.
    """

    service: str
    moves_at: Step | None
    ends_at: Step | None = None
    every_seconds: float = 0.0
    reports: bool = True
    sampled: float = 1.0


READERS: Final = (
    Reader("billing", Step.MOVE),
    Reader("shipping", Step.VERIFY),
    Reader("reports", Step.MOVE, every_seconds=REPORTS_EVERY_SECONDS, sampled=REPORTS_SAMPLED),
    Reader("fax", None, ends_at=Step.VERIFY, reports=False),
)


class Rollout:
    """Where the migration is; safe to ask from any thread."""

    def __init__(self) -> None:
        """Begin before anything changed."""
        self._step = Step.ADD
        self._guard = Lock()

    @property
    def step(self) -> Step:
        """The step that is under way."""
        with self._guard:
            return self._step

    def go_to(self, step: Step) -> None:
        """Begin another step."""
        with self._guard:
            self._step = step

    def published(self) -> tuple[Schema, ...]:
        """Give the schemas in which an order is published."""
        step = self.step
        return (OLD,) if step < Step.PUBLISH_BOTH else (NEW,) if step >= Step.REMOVE else (OLD, NEW)

    def read_by(self, reader: Reader) -> Schema | None:
        """Give the schema that a consumer is subscribed to; None where it does not run."""
        step = self.step
        if reader.ends_at is not None and step >= reader.ends_at:
            return None
        return NEW if reader.moves_at is not None and step >= reader.moves_at else OLD


def configuration(began_unix_seconds: float) -> dict[str, Any]:
    """Give the migration as the configuration file would have it, for a demo that began at a time; a minute of the shop is as weeks elsewhere."""
    decommissioned = datetime.fromtimestamp(began_unix_seconds + sum(STEP_SECONDS.values()), UTC).isoformat()
    return {
        "name": NAME,
        "old": {"destination": OLD.destination, "version": OLD.version},
        "new": {"destination": NEW.destination, "version": NEW.version},
        "consumers": [
            "billing",
            "shipping",
            {"service": "reports", "longest_period": f"{REPORTS_AT_LEAST_EVERY_SECONDS}s"},
            {"service": "fax", "decommissioned": {"by": "whoever looks after the machine", "at": decommissioned}},
        ],
        "longest_period": f"{OTHERS_AT_LEAST_EVERY_SECONDS}s",
        "sampling": {"*": 1.0} | {reader.service: reader.sampled for reader in READERS if reader.sampled < 1},
        "max_unseen_share": MAX_UNSEEN_SHARE,
        "min_window": f"{WINDOW_SECONDS}s",
        "valid_for": f"{WINDOW_SECONDS}s",
    }
