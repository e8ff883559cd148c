"""`traced analyze`: one shot over files, no daemon, no ports."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from traced.cli.options import ConfigOption, Format, FormatOption, read_settings
from traced.cli.output import clean, say, write_json, write_lines, write_table, write_text
from traced.cli.suspects import print_suspects
from traced.errors import ConfigurationError, OutputUnwritableError

if TYPE_CHECKING:
    from traced.cli.inputs import Inputs
    from traced.file_analysis import AnalysisReport
    from traced.model.occurrence import Occurrence

MAX_ROWS = 200
"""Edges and findings printed as text; JSON has all."""


class FailOn(StrEnum):
    """From which level on a finding makes the exit code 1; from the worst down."""

    VIOLATION = "violation"
    IMPROVEMENT = "improvement"
    INFORMATION = "information"


PathsArgument = Annotated[list[str], typer.Argument(metavar="PATH", help="OTLP files: .jsonl, .json, .pb, each also as .gz; - is standard input.")]


def analyze(
    paths: PathsArgument,
    *,
    output: FormatOption = Format.TEXT,
    evidence: Annotated[Path | None, typer.Option("--evidence", metavar="FILE", help="Write every occurrence to FILE, one JSON object a line.")] = None,
    fail_on: Annotated[FailOn | None, typer.Option("--fail-on", help="Exit with 1 if there is a finding of this level or a worse one.")] = None,
    config: ConfigOption = None,
) -> None:
    """Analyse OTLP files once and print what was found.

    Exit code 1: findings at or above --fail-on, also if not all could be read. 3: a file could not be read, or not one line of it.
    """
    with ExitStack() as stack:
        evidence_file = stack.enter_context(_created(evidence)) if evidence is not None else None
        report, inputs = analyze_files(paths, config)
        code = _exit_code(report, fail_on, inputs)
        if evidence_file is not None:
            _write_evidence(evidence_file, report.occurrences)
    result = report.as_dict(inputs.unreadable)
    if output is Format.JSON:
        write_json(result)
    else:
        _print(result)
    raise typer.Exit(code)


def analyze_files(paths: list[str], config: Path | None) -> tuple[AnalysisReport, Inputs]:
    """Read and analyse files; give what was found, and the input with its counts.

    Raises:
        InputUnreadableError: a file cannot be opened.
        ConfigurationError: a setting is wrong.
    """
    settings = read_settings(config, {})

    from traced.cli import logs  # noqa: PLC0415 - `traced --help` needs none of these
    from traced.cli.inputs import Inputs as Files  # noqa: PLC0415
    from traced.file_analysis import analyze_requests  # noqa: PLC0415

    logs.configure(logging.WARNING)
    inputs = Files(paths, say, max_items=settings.receiver.max_items_per_request)
    report = analyze_requests(inputs, settings, inputs.undecodable)
    if inputs.summary():
        say(inputs.summary())
    return report, inputs


def _exit_code(report: AnalysisReport, fail_on: FailOn | None, inputs: Inputs) -> int:
    """Decide before anything is formatted, so that text and JSON end alike."""
    levels = list(FailOn)
    if fail_on is not None and any(levels.index(FailOn(finding.level)) <= levels.index(fail_on) for finding in report.findings):
        return 1
    return 3 if inputs.unread else 0


def _created(path: Path) -> IO[str]:
    try:
        return path.open("w", encoding="ascii")
    except OSError as error:
        raise ConfigurationError(f"--evidence {path} cannot be written: {error.strerror}", next_safe_actions=("Name a file that can be written.",)) from None


def _write_evidence(file: IO[str], occurrences: Iterable[Occurrence]) -> None:
    try:
        file.writelines(json.dumps(occurrence.as_evidence()) + "\n" for occurrence in occurrences)
        file.flush()
    except OSError as error:
        raise OutputUnwritableError(
            f"the evidence could not be written: {error.strerror}",
            error_code="evidence_unwritable",
            next_safe_actions=("Free space on the disk, or name another file.",),
        ) from None


def _print(result: dict[str, Any]) -> None:
    counts = result["input"]
    write_lines([", ".join(f"{counts[name]} {name.replace('_', ' ')}" for name in counts)])
    write_lines([f"services: {', '.join(clean(name) for name in result['services']) or 'none'}", ""])
    found = result["findings"]
    if found:
        print_suspects(result)
    print_edges(result["service_graph"]["edges"])
    print_message_edges(result["message_graph"]["edges"])
    print_migrations(result)
    write_lines(["", f"{len(found)} findings" if found else "no findings"])
    for finding in found[:MAX_ROWS]:
        print_finding(finding)
    if len(found) > MAX_ROWS:
        write_lines(["", f"… and {len(found) - MAX_ROWS} more; --format json gives all"])


def print_edges(edges: list[dict[str, Any]]) -> None:
    """Print edges of the service graph as a table, the busiest first."""
    columns = ("client", "server", "connection_type", "calls", "errors")
    rows = sorted(edges, key=lambda edge: (-edge["calls"], edge["client"], edge["server"]))
    write_table(columns, [[edge[name] for name in columns] for edge in rows[:MAX_ROWS]], title="service graph", right=frozenset({"calls", "errors"}))
    if len(rows) > MAX_ROWS:
        write_lines([f"… and {len(rows) - MAX_ROWS} more; --format json gives all"])


def print_message_edges(edges: list[dict[str, Any]]) -> None:
    """Print edges of the message graph as a table, the busiest first; nothing where there are none."""
    if not edges:
        return
    columns = ("producer", "destination", "consumer", "group", "system", "published", "messages", "failed", "lag", "p99 below")
    rows = sorted(edges, key=lambda edge: (-edge["messages"], edge["producer"], edge["destination"], edge["consumer"]))
    cells = [_message_cells(edge) for edge in rows[:MAX_ROWS]]
    write_lines([""])
    write_table(columns, cells, title="message graph", right=frozenset({"published", "messages", "failed", "lag", "p99 below"}))
    if len(rows) > MAX_ROWS:
        write_lines([f"… and {len(rows) - MAX_ROWS} more; --format json gives all"])


def _message_cells(edge: dict[str, Any]) -> list[object]:
    messages = f"{edge['messages']}{'+' if edge['at_least'] else ''}"
    below = edge["delay"]["p99_below_seconds"]
    ends = (edge["producer"], edge["destination"], edge["consumer"], edge["consumer_group"], edge["system"])
    return [*(end or "-" for end in ends), edge["published"], messages, edge["errors"], edge["lag"], None if below is None else f"{below:g} s"]


def print_migrations(result: dict[str, Any]) -> None:
    """Print how migrations stand, and others that were found."""
    for one in result["migrations"]:
        write_text(f"\nmigration {one['name']}: {one['phase']}")
        write_text("\n".join(f"  {gate['gate']}: {gate['sentence']}" for gate in one["gates"]))
    for found in result["found_migrations"]:
        write_text(f"\nnot configured: {found['detail']}. To watch it, add below `migrations:`")
        write_text(found["configuration"])


def print_finding(finding: dict[str, Any]) -> None:
    """Print one finding in a few lines."""
    about = f"{finding['service']} ← {finding['peer']}" if finding["peer"] else finding["service"]
    lines = [f"{finding['level']}  {finding['id']}  {about}  x{finding['count']}", f"  {finding['message']}"]
    if finding["cause"]:
        lines.append(f"  cause: {finding['cause']} (confidence {finding['confidence']})")
    if finding["how_to_fix"]:
        lines.append(f"  fix: {finding['how_to_fix']}")
    shown = [f"{example['trace_id']} / {example['span_id'] or '-'}" for example in finding["examples"][:3]]
    if shown:
        lines.append(f"  trace / span: {', '.join(shown)}")
    write_text("\n".join(["", *lines]))
