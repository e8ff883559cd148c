"""docs/configuration.md: every setting with its unit, default, bounds, environment variable and flag."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, get_args, get_origin

from documentation.table import table
from pydantic.fields import FieldInfo

import traced.config
import traced.config.migrations
from traced.cli.options import listening
from traced.config import INTERNAL_SETTINGS, Address, Settings
from traced.config.migrations import AttestationSettings, ConsumerSettings, DecommissionedSettings, MigrationSettings, SideSettings
from traced.config.room import Room

UNITS = {"fraction": "share", "hosts": "list of names"}
"""Where the last word of a setting's name does not say its unit."""
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}

EXAMPLE = """\
analysis:
  settle_seconds: 60
store:
  data_dir: /var/lib/traced
  retention_seconds: 604800
graph:
  virtual_callers: peer
"""

INTRODUCTION = f"""# Configuration

A setting is looked for in this order, and the first that has it counts: command line flag, environment variable, YAML file
(`--config FILE`), default. All settings are read once and checked before anything is opened or bound; an unknown name is an
error that names the nearest known one. So is a variable `TRACED_…` that looks like a setting and is none (`TRACED_ANALYSIS_SETTLE_SECONDS`,
`TRACED_SETTLE_SECONDS`); what Kubernetes sets for a Service of the name `traced` (`TRACED_SERVICE_HOST`, `TRACED_PORT`, …) is ignored.

```yaml
{EXAMPLE}```

The same by environment: `TRACED_ANALYSIS__SETTLE_SECONDS=60` (`TRACED_`, the room, two underscores, the setting).
A list of names (`TRACED_HTTP__ALLOWED_HOSTS`) is written with commas between them, or as a JSON list.
"""

MIGRATION_EXAMPLE = """\
migrations:
  - name: order-created-v2
    system: kafka
    shape: two_destinations
    old: {destination: orders.v1}
    new: {destination: orders.v2}
    consumers:
      - billing
      - {service: shipping, group: close, longest_period: 7d, traces_per_run: 100}
      - {service: fax, decommissioned: {by: ana, at: 2026-11-01}}
      - {service: mirror, role: relay}
      - {service: loadgen, excluded: test traffic}
    sampling: {"*": 1.0}
    cutoff: 2026-11-10T00:00:00Z
    attestations:
      - {kind: retention_elapsed, at: 2026-11-18T09:00:00Z, by: ana}
"""

MIGRATIONS = f"""
## `migrations`

Dual-publish migrations: a list, each with a name. Only a file can hold it (or `TRACED_MIGRATIONS` as JSON). Durations are a number with its unit (`7d`, `36h`,
`90m`, `1d12h`), times are written with their offset (`2026-11-10T00:00:00Z`; a date alone is its midnight in UTC), and versions are compared as text.

```yaml
{MIGRATION_EXAMPLE}```
"""
PARTS = {
    "A migration": MigrationSettings,
    "`old`, `new`": SideSettings,
    "One of `consumers`": ConsumerSettings,
    "`decommissioned`": DecommissionedSettings,
    "One of `attestations`": AttestationSettings,
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of one room."""

    room: str
    name: str
    field: FieldInfo
    meaning: str

    @property
    def variable(self) -> str:
        return f"TRACED_{self.room}__{self.name}".upper()

    @property
    def unit(self) -> str:
        """Say what a value is: a unit, or the values there are."""
        kind: Any = self.field.annotation
        if get_origin(kind) is Literal:
            return ", ".join(f"`{value}`" for value in get_args(kind))
        if kind is bool:
            return "true, false"
        if kind is Path:
            return "directory"
        if get_args(Address)[1] in self.field.metadata:
            return "HOST:PORT"
        last = re.split("_(?:per|in)_", self.name)[0].rsplit("_", 1)[-1]
        return UNITS.get(last, last)

    @property
    def default(self) -> str:
        value = self.field.default
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, int | float):
            return amount(value, self.unit)
        return f"`{value}`" if str(value) and value != () else "none"

    @property
    def bounds(self) -> str:
        """Give the least and the largest value, where there are any."""
        found = [
            f"{sign} {amount(getattr(one, name), self.unit)}"
            for one in self.field.metadata
            for name, sign in BOUNDS.items()
            if getattr(one, name, None) is not None
        ]
        return ", ".join(found)


def amount(value: float, unit: str) -> str:
    """Give a number as people read it; bytes in binary units, long times in hours or days beside."""
    if unit == "bytes":
        for factor, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
            if value >= factor and value % factor == 0:
                return f"{value // factor:,} {name}"
    beside = ""
    if unit == "seconds" and value >= 3600:
        beside = f" ({value / 86_400:g} d)" if value >= 10 * 86_400 else f" ({value / 3600:g} h)"
    return (f"{value:,.10g}" if isinstance(value, float) else f"{value:,}") + beside


def rooms() -> Iterator[tuple[str, str, list[Setting]]]:
    """Give each room with its sentence and its settings."""
    documented = _docstrings(traced.config)
    for room, field in Settings.model_fields.items():
        kind: Any = field.annotation
        if room == "migrations":
            continue
        if not issubclass(kind, Room):
            raise TypeError(f"{room} is no room")
        shown = [(name, one) for name, one in kind.model_fields.items() if (room, name) not in INTERNAL_SETTINGS]
        settings = [Setting(room, name, one, documented[kind.__name__, name]) for name, one in shown]
        yield room, inspect.getdoc(kind) or "", settings


def migrations() -> Iterator[str]:
    """Give the tables of what a migration is made of."""
    documented = _docstrings(traced.config.migrations)
    for heading, kind in PARTS.items():
        settings = [Setting("migrations", name, one, documented[kind.__name__, name]) for name, one in kind.model_fields.items()]
        lines = [(f"`{one.name}`", one.meaning, "required" if one.field.is_required() else _default(one.field), one.bounds) for one in settings]
        yield f"\n{heading}: {inspect.getdoc(kind)}\n\n" + table(("setting", "what it does", "default", "bounds"), lines)


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if isinstance(value, timedelta):
        hours = value.total_seconds() / 3600
        return f"`{hours / 24:g}d`" if hours > 24 else f"`{hours:g}h`"
    if isinstance(value, tuple):
        return ", ".join(f"`{one}`" for one in value) or "none"
    return "none" if value in (None, "", {}) else f"`{value}`"


def _docstrings(module: ModuleType) -> dict[tuple[str, str], str]:
    """Read the string below each setting: Python itself forgets it."""
    found = {}
    classes = [node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.ClassDef)]
    for declared in classes:
        for line, after in pairwise(declared.body):
            match line, after:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[declared.name, name] = " ".join(text.split())
                case _:
                    pass
    return found


def flags() -> dict[tuple[str, str], str]:
    """Give the command line flag of each setting that has one."""
    names = inspect.signature(listening).parameters
    by_room = listening(**{name: f"--{name.replace('_', '-')}" for name in names})  # type: ignore[arg-type]
    return {(room, name): flag for room, settings in by_room.items() for name, flag in settings.items()}


def document() -> str:
    """Give the page."""
    known = flags()
    parts = [INTRODUCTION]
    for room, sentence, settings in rooms():
        lines = []
        for one in settings:
            flag = known.get((room, one.name), "")
            names = f"`{one.variable}`" + (f", `{flag}`" if flag else "")
            lines.append((f"`{one.name}`", one.meaning, one.unit, one.default, one.bounds, names))
        parts.append(f"\n## `{room}`\n\n{sentence}\n\n")
        parts.append(table(("setting", "what it does", "unit or values", "default", "bounds", "environment, flag"), lines))
    return "".join([*parts, MIGRATIONS, *migrations()])
