"""Options that several commands share, and how flags become settings."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:  # pydantic takes 0.3 s to load, which `traced --help` has no use for
    from traced.config import Settings


class Format(StrEnum):
    """How results are printed."""

    TEXT = "text"
    JSON = "json"


DAEMON_URL = "http://127.0.0.1:4320"

ConfigOption = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="YAML file with settings; flags and TRACED_ROOM__SETTING go before it.")]
FormatOption = Annotated[Format, typer.Option("--format", help="text for people, json for programs.")]
UrlOption = Annotated[str, typer.Option("--url", metavar="URL", help="Where the daemon answers people and machines.")]
GrpcOption = Annotated[str | None, typer.Option("--otlp-grpc", metavar="HOST:PORT", help="Where OTLP/gRPC listens; port 0 takes a free one.")]
OtlpHttpOption = Annotated[str | None, typer.Option("--otlp-http", metavar="HOST:PORT", help="Where OTLP/HTTP listens.")]
HttpOption = Annotated[str | None, typer.Option("--http", metavar="HOST:PORT", help="Where pages, JSON and metrics are served.")]
SettleOption = Annotated[float | None, typer.Option("--settle-seconds", metavar="N", help="Analyse a trace once it has been quiet for so long.")]


def read_settings(config: Path | None, flags: dict[str, dict[str, Any]]) -> Settings:
    """Read the settings; flags that were not given (None) leave the rest as it is.

    Raises:
        ConfigurationError: naming the setting that is wrong.
    """
    from traced.config import load  # noqa: PLC0415 - see above

    given = {room: {name: value for name, value in values.items() if value is not None} for room, values in flags.items()}
    return load(config, {room: values for room, values in given.items() if values})


def listening(
    otlp_grpc: str | None,
    otlp_http: str | None,
    http: str | None,
    data_dir: Path | None,
    settle_seconds: float | None,
) -> dict[str, dict[str, Any]]:
    """Give the flags of `serve` and `demo` as room → setting → value."""
    return {
        "receiver": {"otlp_grpc": otlp_grpc, "otlp_http": otlp_http},
        "http": {"listen": http},
        "store": {"data_dir": data_dir},
        "analysis": {"settle_seconds": settle_seconds},
    }
