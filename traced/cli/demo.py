"""`traced demo`: the daemon plus a small shop with planted faults."""

from __future__ import annotations

import json
import logging
import re
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from traced.cli.options import ConfigOption, Format, FormatOption, GrpcOption, HttpOption, OtlpHttpOption, SettleOption, listening, read_settings
from traced.cli.output import clean, say, write_json, write_lines, write_table, write_text

if TYPE_CHECKING:
    from traced.cli.daemon_api import DaemonApi
    from traced.config import Settings
    from traced.demo.faults import Expectation, PlantedFault
    from traced.demo.shop import Shop

SETTLE_SECONDS = 5.0
"""Shorter than the daemon's own: here nothing is late, and people wait."""
LAST_PASSES_SECONDS = 30.0
"""How long the analysis may take, beyond settling, to say all that it will say."""
_SLOW_BUCKET = "0.4"
"""The bound of the latency histogram below the planted slow call."""


def demo(  # noqa: PLR0913 - one a flag
    *,
    otlp_grpc: GrpcOption = None,
    otlp_http: OtlpHttpOption = None,
    http: HttpOption = None,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", metavar="DIR", help="Keep the data here; a temporary directory if absent.")] = None,
    settle_seconds: SettleOption = None,
    seconds: Annotated[float | None, typer.Option("--seconds", min=1, metavar="N", help="Stop after N seconds and compare findings with faults.")] = None,
    requests_per_second: Annotated[float, typer.Option("--rate", min=0.1, max=100, metavar="N", help="Customers' requests a second.")] = 5.0,
    migration: Annotated[bool, typer.Option("--migration", help="Migrate the shop's orders to a new schema, step by step, and say what traced says.")] = False,
    config: ConfigOption = None,
    output: FormatOption = Format.TEXT,
) -> None:
    """Run the daemon and a small instrumented shop with planted, listed faults.

    With --seconds it ends by itself; exit code 1 then says that something planted was not found. As JSON it prints one document: with --seconds
    the comparison, without it the addresses and the planted faults, at once.

    With --migration order's messages go through the five steps of a dual-publish migration, which take about six minutes: a line for each step, and for each
    verdict that changes. With --seconds it ends by itself; exit code 1 then says that the old schema was never safe to go.
    """
    with ExitStack() as stack:
        flags = listening(otlp_grpc, otlp_http, http, data_dir, settle_seconds)
        settings = _with_demo_defaults(config, flags, stack)
        if migration:
            settings = _with_migration(settings)

        from traced.cli import logs  # noqa: PLC0415 - `traced --help` needs none of these
        from traced.cli.daemon_api import DaemonApi  # noqa: PLC0415
        from traced.daemon import Daemon  # noqa: PLC0415
        from traced.demo.faults import planted_faults  # noqa: PLC0415
        from traced.demo.rollout import Rollout  # noqa: PLC0415
        from traced.demo.shop import Shop  # noqa: PLC0415

        logs.configure(logging.WARNING)
        stopped = stack.enter_context(_signals())
        daemon = Daemon(settings)
        stack.callback(daemon.stop)
        daemon.start()
        ready = daemon.ready_line()
        rollout = Rollout() if migration else None
        shop = Shop(otlp_grpc=ready["otlp_grpc"], otlp_http=ready["otlp_http"], requests_per_second=requests_per_second, rollout=rollout)
        stack.callback(shop.stop, 4.0)
        shop.start()
        if migration:
            _migrate(shop, ready["http"], seconds, stopped, output)
        _introduce(ready, settings.analysis.settle_seconds, output, ends_by_itself=seconds is not None)
        stopped.wait(seconds)
        if seconds is None or stopped.is_set():
            return
        shop.stop(10.0)
        api = DaemonApi(f"http://{ready['http']}")
        comparison = _wait_for_all(api, planted_faults(), settings.analysis.settle_seconds + LAST_PASSES_SECONDS, stopped)
    code = 0 if all(row.found for row in comparison) else 1
    _print(comparison, shop.requests_sent, output)
    raise typer.Exit(code)


def _with_migration(settings: Settings) -> Settings:
    """Add the shop's migration to the configured ones."""
    from traced.config.migrations import MigrationSettings  # noqa: PLC0415 - see `demo`
    from traced.demo.rollout import configuration  # noqa: PLC0415

    ours = MigrationSettings.model_validate(configuration(time.time()))
    return settings.model_copy(update={"migrations": (*settings.migrations, ours)})


def _migrate(shop: Shop, http: str, seconds: float | None, stopped: threading.Event, output: Format) -> None:
    """Take the migration through its steps, with a line for whatever is new, until the time is over or somebody ends it."""
    from traced.cli.daemon_api import DaemonApi  # noqa: PLC0415 - see `demo`
    from traced.demo.rollout import NAME  # noqa: PLC0415
    from traced.demo.rollout_run import RolloutRun  # noqa: PLC0415

    say(f"Look at http://{http}/migrations; Ctrl-C ends it." if seconds is None else f"Look at http://{http}/migrations")
    api, safe = DaemonApi(f"http://{http}"), False
    run, deadline = RolloutRun(shop, lambda: api.get("migrations", NAME)), None if seconds is None else time.monotonic() + seconds
    while not stopped.wait(1.0) and (deadline is None or time.monotonic() < deadline):
        for word in run.turn():
            safe |= word.verdict == "SAFE"
            write_lines([json.dumps(asdict(word))] if output is Format.JSON else [f"{word.seconds:5.0f} s  {clean(word.text)}"])
    raise typer.Exit(0 if safe or seconds is None else 1)


def _introduce(ready: dict[str, Any], settle_seconds: float, output: Format, *, ends_by_itself: bool) -> None:
    """Say where to look and what is planted."""
    from traced.demo.faults import planted_faults, planted_faults_text  # noqa: PLC0415 - see `demo`

    words = [f"Look at http://{ready['http']}/", f"First findings come after about {settle_seconds:g} s."]
    if output is Format.TEXT:
        write_lines([*words, "", "Planted faults:", ""])
        write_text(planted_faults_text())
        if not ends_by_itself:
            write_lines(["Ctrl-C ends it."])
    elif ends_by_itself:
        say("\n".join(words))
    else:
        write_json(ready | {"planted_faults": [asdict(fault) for fault in planted_faults()]})


def _with_demo_defaults(config: Path | None, flags: dict[str, dict[str, Any]], stack: ExitStack) -> Settings:
    """Read the settings; what neither flag, environment nor file says of data and settling gets the demo's own default."""
    settings = read_settings(config, flags)
    if "settle_seconds" not in settings.analysis.model_fields_set:
        flags["analysis"]["settle_seconds"] = SETTLE_SECONDS
    if "data_dir" not in settings.store.model_fields_set:
        flags["store"]["data_dir"] = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="traced-demo-", ignore_cleanup_errors=True)))
    return read_settings(config, flags)


@contextmanager
def _signals() -> Iterator[threading.Event]:
    """Give an event that SIGTERM and SIGINT set, so that the shop ends before the daemon it reports to."""
    stopped = threading.Event()
    before = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Row(NamedTuple):
    """One thing that must be said of a planted fault, and how many times it was (in `unit`)."""

    fault: str
    expected: str
    times: int
    unit: str = "occurrences"

    @property
    def found(self) -> bool:
        """Whether it was said at all."""
        return self.times > 0


def _wait_for_all(api: DaemonApi, faults: tuple[PlantedFault, ...], patience_seconds: float, stopped: threading.Event) -> list[Row]:
    """Ask until everything planted was found, or patience ends."""
    deadline = time.monotonic() + patience_seconds
    while True:
        rows = compare(faults, api.get("findings", limit=5_000)["findings"], api.get("graph")["service_graph"]["edges"], api.metrics())
        if all(row.found for row in rows) or time.monotonic() > deadline or stopped.wait(1.0):
            return rows


def compare(faults: tuple[PlantedFault, ...], findings: list[dict[str, Any]], edges: list[dict[str, Any]], metrics: str) -> list[Row]:
    """Put beside each planted fault what was found of it."""
    rows: list[Row] = []
    for fault in faults:
        rows += [_row_of_claim(fault.name, claim, findings) for claim in fault.expected]
        if fault.failing_edge is not None:
            client, server = fault.failing_edge
            errors = sum(edge["errors"] for edge in edges if (edge["client"], edge["server"]) == fault.failing_edge)
            rows.append(Row(fault.name, f"errors on the edge {client} → {server}", errors, "errors"))
        if fault.slow_edge is not None:
            client, server = fault.slow_edge
            slow = slow_calls(metrics, client, server)
            rows.append(Row(fault.name, f"latency on the edge {client} → {server}", slow, f"calls over {_SLOW_BUCKET} s"))
    return rows


def _row_of_claim(name: str, claim: Expectation, findings: list[dict[str, Any]]) -> Row:
    said = (one for one in findings if claim.covers(one["id"], one["service"], one["peer"] or ""))
    count = sum(one["count"] for one in said if claim.cause in ("", one["cause"]))
    about = f"{claim.service} ← {claim.peer}" if claim.peer else claim.service
    why = f": {claim.cause}" if claim.cause else ""
    return Row(name, f"{claim.detector} {about}{why}", count)


def slow_calls(metrics: str, client: str, server: str) -> int:
    """Count the calls above the slow bound in the graph's latency histogram of one edge."""
    counts = {"+Inf": 0.0, _SLOW_BUCKET: 0.0}
    for line in metrics.splitlines():
        if line.startswith("traces_service_graph_request_client_seconds_bucket{"):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
            if (labels.get("client"), labels.get("server")) == (client, server) and labels.get("le") in counts:
                counts[labels["le"]] += float(line.rsplit("} ", 1)[1].split()[0])
    return int(counts["+Inf"] - counts[_SLOW_BUCKET])


def _print(rows: list[Row], requests_sent: int, output: Format) -> None:
    """Print planted, found and missed side by side."""
    from traced.demo.faults import REQUESTS_FOR_ALL_FAULTS  # noqa: PLC0415 - see `demo`

    found = sum(row.found for row in rows)
    if output is Format.JSON:
        write_json(
            {
                "comparison": [row._asdict() | {"found": row.found} for row in rows],
                "expected": len(rows),
                "found": found,
                "requests_sent": requests_sent,
                "requests_needed": REQUESTS_FOR_ALL_FAULTS,
            },
        )
    else:
        table = [(row.fault, row.expected, f"{row.times} {row.unit}" if row.found else "", "found" if row.found else "MISSED") for row in rows]
        write_table(("planted", "traced should say", "found", ""), table)
        write_lines(["", f"{found} of {len(rows)} found after {requests_sent} requests"])
    if found < len(rows) and requests_sent < REQUESTS_FOR_ALL_FAULTS:
        say(f"Only {requests_sent} requests were made: {REQUESTS_FOR_ALL_FAULTS} are needed until every fault has happened. Give more --seconds.")
