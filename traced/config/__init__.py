"""One settings class per room, read once, checked before anything starts.

Precedence: command line flag, then environment (`TRACED_ROOM__SETTING`), then the YAML file, then the default here.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import BeforeValidator, Field, StringConstraints, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from traced.config.files import read_yaml
from traced.config.migrations import MigrationSettings, check_together
from traced.config.room import Room
from traced.errors import ConfigurationError
from traced.model.migration import Migration

Address = Annotated[str, StringConstraints(pattern=r"^(\[[0-9a-fA-F:]+\]|[^:\s]+):\d{1,5}$")]


def _split(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        # an IPv6 address stands in brackets too, so that only what is a list by JSON's rules is one
        with contextlib.suppress(ValueError):
            return json.loads(value)
    return [name.strip() for name in value.split(",") if name.strip()]


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""A list of names; in the environment with commas between them, or as a JSON list."""


class ReceiverSettings(Room):
    """Takes OTLP."""

    otlp_grpc: Address = "127.0.0.1:4317"
    """Where OTLP/gRPC listens (HOST:PORT; port 0 takes a free one). Loopback, so that nothing is exposed unasked."""
    otlp_http: Address = "127.0.0.1:4318"
    """Where OTLP/HTTP listens (HOST:PORT)."""
    max_request_bytes: int = Field(64 * 2**20, ge=1024, le=2**30)
    """Largest request, compressed and after decompression, in bytes (OTLP recommends 64 MiB)."""
    max_items_per_request: int = Field(50_000, ge=1, le=100_000)
    """Most spans (or log records, or envelopes) in one request; counted before parsing, since 4 KB of gzip can hold 2 million.
    One transaction of the hot segment must stay below 122,880 rows."""
    max_bytes_in_flight: int = Field(128 * 2**20, ge=2**20)
    """Bytes of requests being decoded or waiting for their commit; above it senders are told to come back. gRPC messages on their way reserve room in it."""
    max_requests_in_flight: int = Field(24, ge=1, le=1024)
    """Requests being decoded or waiting for their commit, all transports together."""
    request_timeout_seconds: float = Field(30.0, gt=0)
    """How long an HTTP body or a gRPC message may take to arrive, and how long a request may wait for its commit."""


class StoreSettings(Room):
    """Keeps spans and logs within bounds."""

    data_dir: Path = Path("traced-data")
    """Where segments and sealed files lie."""
    durable: bool = True
    """Whether an acknowledged batch is on disk. Nobody can set it: it is off for `traced analyze` alone, whose store lives as long as the command."""
    max_queue_bytes: int = Field(128 * 2**20, ge=2**20)
    """Bytes of decoded batches waiting for the writer."""
    seal_after_spans: int = Field(100_000, ge=100, le=1_000_000)
    """Freeze and seal the hot segment at so many rows: hot rows are in memory, about 250 bytes each."""
    seal_after_seconds: float = Field(300.0, gt=0)
    """Freeze and seal the hot segment at this age, if it holds anything."""
    merge_below_bytes: int = Field(32 * 2**20, ge=0)
    """Sealed files smaller than this are merged with their neighbours."""
    merge_files: int = Field(8, ge=2, le=64)
    """So many small neighbours make a merge."""
    retention_seconds: float = Field(72 * 3600.0, gt=0)
    """How long sealed files are kept, by arrival."""
    retention_bytes: int = Field(10 * 2**30, ge=2**20)
    """How much all sealed files together may take; the oldest go first."""
    message_retention_seconds: float = Field(35 * 86_400.0, gt=0)
    """How long rows of messages are kept, by arrival: a verdict about a migration looks back over weeks, and spans do not live as long."""
    message_retention_bytes: int = Field(2 * 2**30, ge=2**20)
    """How much the files of messages may take; the oldest go first. About 40 million messages."""
    flow_retention_seconds: float = Field(400 * 86_400.0, gt=0)
    """How long it is kept how many messages of a kind there were in each minute: a year, so that what runs once a year is seen again."""
    flow_retention_bytes: int = Field(2**30, ge=2**20)
    """How much the files of flows may take; the oldest go first."""
    max_disk_fraction: float = Field(0.9, gt=0, le=1)
    """From this fill of the volume on, senders are told to come back (`disk_full`)."""
    dedup_window_spans: int = Field(2_000_000, ge=1000)
    """How many of the newest spans a resent span is recognised among (8 bytes of memory each)."""
    dedup_window_log_batches: int = Field(65_536, ge=100)
    """How many of the newest batches of log records a resent one is recognised among (40 bytes of memory each)."""
    memory_limit_bytes: int = Field(192 * 2**20, ge=32 * 2**20)
    """DuckDB's buffer limit for hot segments; above it rows spill to disk."""
    max_spill_bytes: int = Field(2**30, ge=0)
    """How much each of DuckDB's instances may spill to `spill/` of the data directory: one for sealed files, one for the analysis, one for each hot
    segment. What needs more fails. A pass or a look at a trace needs a small part of it."""


class AnalysisSettings(Room):
    """Takes settled traces and runs the detectors."""

    settle_seconds: float = Field(30.0, ge=0)
    """A trace is analysed once no span of it arrived for so long."""
    interval_seconds: float = Field(2.0, gt=0)
    """Pause between two passes."""
    max_open_seconds: float = Field(600.0, gt=0)
    """A trace that never falls quiet is analysed anyway after so long."""
    max_spans_per_trace: int = Field(50_000, ge=100)
    """Spans analysed of one trace; more are left out and counted, nothing is called absent in it, and it is not read again while more come."""
    max_spans_per_pass: int = Field(500_000, ge=1000)
    """Spans read by one pass, and once more as many of the traces that late spans reopen; a backlog is worked off in several."""
    late_window_seconds: float = Field(3600.0, gt=0)
    """How far back the earlier spans of a reopened trace are looked for."""
    late_window_traces: int = Field(1_000_000, ge=1000)
    """How many of the newest analysed traces a late span is recognised among (8 bytes of memory each)."""
    view: Literal["auto", "complete", "partial"] = "auto"
    """Whether all of the system's spans come here (`complete`), or those of one pod or node only (`partial`: what others should have sent is never
    called missing). `auto`: partial where all spans are of one host and next to no span's caller is among them."""


class FindingsSettings(Room):
    """The ledger."""

    max_findings: int = Field(5_000, ge=10)
    """Open findings. Where there are so many, the mildest makes room for a worse one, first the one found least lately; what goes, or finds no room,
    is counted as dropped."""
    max_occurrences: int = Field(100_000, ge=100)
    """Occurrences remembered for withdrawal. Where there are more, the findings that have the most forget their oldest, which is counted."""
    examples: int = Field(5, ge=1, le=50)
    """Example traces kept with a finding."""
    resolve_after_seconds: float = Field(3600.0, gt=0)
    """A finding without a new occurrence for so long is resolved, if its service was looked at meanwhile."""


class GraphSettings(Room):
    """The service graph; virtual nodes are settings because the peers disagree."""

    virtual_callers: Literal["peer_or_user", "user", "peer", "none"] = "peer_or_user"
    """Who calls a root SERVER or CONSUMER: its peer attribute, else `user` (Tempo); `user` (Collector); its peer (Zipkin)."""
    virtual_callees: Literal["peer", "peer_or_unknown", "none"] = "peer"
    """Whom an unanswered CLIENT calls: its peer attribute; or else `unknown` (Collector)."""
    max_edges: int = Field(2_000, ge=10)
    """Edges kept. Where there are so many, those on which nothing was seen for `history_minutes` make room; else, for an edge between services, the
    virtual one seen least lately. Calls of an edge that finds no room are counted as dropped."""
    history_minutes: int = Field(180, ge=1)
    """For how many minutes the graph can be asked by time range."""


class HttpSettings(Room):
    """People and machines: pages, JSON, metrics."""

    listen: Address = "127.0.0.1:4320"
    """Where pages, JSON and metrics are served (HOST:PORT)."""
    allow_beyond_loopback: bool = False
    """Serve pages and JSON on an address that others can reach. There is no authentication yet, so it must be said."""
    allowed_hosts: Names = ()
    """Further names under which browsers may reach it (the Host header is checked against DNS rebinding)."""
    max_series: int = Field(2_000, ge=10)
    """Label sets per metric family; further ones are summed into `__other__` and counted."""


class QuerySettings(Room):
    """A user's own SQL: in a child process that can be killed."""

    timeout_seconds: float = Field(10.0, gt=0, le=600)
    """Wall clock limit; the child is killed after it."""
    max_memory_bytes: int = Field(1024 * 2**20, ge=128 * 2**20)
    """Address space the child may add to what it starts with (RLIMIT_AS)."""
    max_rows: int = Field(10_000, ge=1)
    """Rows returned; more are cut and the answer says so."""
    max_result_bytes: int = Field(16 * 2**20, ge=1024)
    """Size of the answer; more is cut and the answer says so."""


class Settings(BaseSettings):
    """All settings of the daemon."""

    model_config = SettingsConfigDict(
        env_prefix="TRACED_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    receiver: ReceiverSettings = ReceiverSettings()
    store: StoreSettings = StoreSettings()
    analysis: AnalysisSettings = AnalysisSettings()
    findings: FindingsSettings = FindingsSettings()
    graph: GraphSettings = GraphSettings()
    http: HttpSettings = HttpSettings()
    query: QuerySettings = QuerySettings()
    migrations: tuple[MigrationSettings, ...] = Field((), max_length=100)
    """Dual-publish migrations: a list, each with a name."""

    @field_validator("migrations")
    @classmethod
    def _agree(cls, value: tuple[MigrationSettings, ...]) -> tuple[MigrationSettings, ...]:
        return check_together(value)

    def configured_migrations(self) -> tuple[Migration, ...]:
        """Give the migrations as the other rooms know them."""
        return tuple(one.noun(self.migrations) for one in self.migrations)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read flags and the file by `load`; of pydantic's own sources only the environment is used."""
        del settings_cls, dotenv_settings, file_secret_settings
        return init_settings, env_settings


INTERNAL_SETTINGS: Final = frozenset({("store", "durable")})
"""(room, setting) of what is no user's to choose: no document lists it, and `load` refuses anything but its default."""

_SET_BY_KUBERNETES: Final = re.compile(r"TRACED_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_[A-Z]+(?:_PROTO|_PORT|_ADDR)?)?)")
"""What every container is given for a Service that is named `traced`, or `traced-` and something."""
_SURELY_MEANT: Final = 0.8
"""How alike (difflib's ratio) a variable and a setting are that were meant to be the same."""


def load(config: Path | None = None, flags: dict[str, dict[str, Any]] | None = None) -> Settings:
    """Read the settings: flags over environment over file over defaults.

    Args:
        config: a YAML file with one mapping per room, or None.
        flags: room to setting to value, as given on the command line.

    Raises:
        ConfigurationError: naming the setting, and the nearest name where one is unknown.
    """
    _check_environment()
    # a room of which only the heading is written has no settings
    from_file = {room: settings for room, settings in (read_yaml(config) if config is not None else {}).items() if settings is not None}
    try:
        from_environment = Settings().model_dump(exclude_unset=True)
        merged = _merge(_merge(from_file, from_environment), flags or {})
        settings = Settings(**merged)
    except ValidationError as error:
        raise ConfigurationError(
            _explain(error),
            next_safe_actions=("Correct the setting named above and start again.",),
        ) from None
    except SettingsError as error:
        raise ConfigurationError(
            f"the environment cannot be read: {error}",
            next_safe_actions=("Correct the variables TRACED_ROOM__SETTING of the room named above, and start again.",),
        ) from None
    _check_internal(settings)
    return settings


def _check_internal(settings: Settings) -> None:
    for room, name in INTERNAL_SETTINGS:
        given: Room = getattr(settings, room)
        if getattr(given, name) != type(given).model_fields[name].default:
            raise ConfigurationError(
                f"setting '{room}.{name}' cannot be changed: what is acknowledged is on disk",
                next_safe_actions=(f"Remove {room}.{name} from the configuration file and TRACED_{room.upper()}__{name.upper()} from the environment.",),
            )


def _check_environment() -> None:
    """Refuse variables that were meant for a setting and would do nothing: an unknown room, or one underscore where two belong.

    Other names are left alone: Kubernetes sets TRACED_SERVICE_HOST and the like, and others may have variables of their own.
    """
    for name in os.environ:
        if not name.upper().startswith("TRACED_"):
            continue
        rest = name.lower().removeprefix("traced_")
        room, separator, _ = rest.partition("__")
        if separator and room not in Settings.model_fields:
            close = difflib.get_close_matches(room, Settings.model_fields, n=1)
            hint = f" (did you mean TRACED_{close[0].upper()}__…?)" if close else ""
            problem = f"there is no room {room!r}{hint}"
        elif not separator and not _SET_BY_KUBERNETES.fullmatch(name.upper()) and (meant := _setting_meant(rest)):
            problem = f"it is no setting (did you mean {meant}?)"
        else:
            continue
        raise ConfigurationError(f"environment variable {name}: {problem}", next_safe_actions=(f"Unset {name} or correct its name.",))


def _setting_meant(rest: str) -> str:
    """Give the variable that one without a double underscore was meant to be, "" where it is none of ours.

    Args:
        rest: its name in lower case, without `traced_`; a room's name alone is none: it gives the whole room as JSON.
    """
    if rest in Settings.model_fields:
        return ""
    variables: dict[str, str] = {}
    for room, field in Settings.model_fields.items():
        settings: Any = field.annotation
        for setting in getattr(settings, "model_fields", ()):
            variables[setting] = variables[f"{room}_{setting}"] = f"TRACED_{room}__{setting}".upper()
    close = difflib.get_close_matches(rest, variables, n=1, cutoff=_SURELY_MEANT)
    if close:
        return variables[close[0]]
    return next((f"TRACED_{room.upper()}__…" for room in Settings.model_fields if rest.startswith(f"{room}_")), "")


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        location = [str(part) for part in problem["loc"]]
        name = ".".join(location)
        if problem["type"] == "extra_forbidden":
            lines.append(f"unknown setting {name!r}{_nearest(location)}")
        else:
            lines.append(f"setting {name!r}: {problem['msg'].removeprefix('Value error, ')}")
    return "; ".join(lines)


def _nearest(location: list[str]) -> str:
    known: Any = Settings
    for part in location[:-1]:
        # of a list, the place in it says nothing
        known = _room_in(known.model_fields[part].annotation) if part in known.model_fields else known
        if known is None:
            return ""
    close = difflib.get_close_matches(location[-1], known.model_fields, n=1)
    return f" (did you mean {'.'.join([*location[:-1], close[0]])!r}?)" if close else ""


def _room_in(annotation: Any) -> type[Room] | None:
    """Give the settings that a type holds, as in a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, Room):
        return annotation
    return next((room for part in get_args(annotation) if (room := _room_in(part)) is not None), None)
