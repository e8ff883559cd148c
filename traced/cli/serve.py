"""`traced serve`: the daemon."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from traced.cli.options import ConfigOption, GrpcOption, HttpOption, OtlpHttpOption, SettleOption, listening, read_settings
from traced.cli.output import write_lines


def serve(
    *,
    otlp_grpc: GrpcOption = None,
    otlp_http: OtlpHttpOption = None,
    http: HttpOption = None,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", metavar="DIR", help="Where segments and sealed files lie.")] = None,
    settle_seconds: SettleOption = None,
    config: ConfigOption = None,
) -> None:
    """Run the daemon: OTLP in, findings and metrics out.

    Prints one JSON line on stdout once everything is bound; the log goes to stderr. SIGTERM or Ctrl-C ends it.
    """
    settings = read_settings(config, listening(otlp_grpc, otlp_http, http, data_dir, settle_seconds))

    from traced.cli import logs  # noqa: PLC0415 - `traced --help` needs none of these
    from traced.daemon import Daemon  # noqa: PLC0415

    logs.configure()
    daemon = Daemon(settings)
    daemon.catch_signals()
    daemon.start()
    try:
        write_lines([json.dumps(daemon.ready_line())])
        code = daemon.run_until_signal()
    finally:
        daemon.stop()
    raise typer.Exit(code)
