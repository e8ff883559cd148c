"""`traced migration`: how dual-publish migrations stand, and whether the old schema may go."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from traced.cli.options import DAEMON_URL, Format, FormatOption, UrlOption
from traced.cli.output import say, write_json, write_lines, write_table, write_text
from traced.errors import ConfigurationError

migration = typer.Typer(no_args_is_help=True, help="How dual-publish migrations stand, and whether the old schema may go.")

_MARKS = {"met": "met    ", "broken": "BROKEN ", "unknown": "unknown"}


class AskedGate(StrEnum):
    """What is asked before a step that is hard to take back."""

    STOP_PUBLISH = "stop-publish"
    REMOVE_SCHEMA = "remove-schema"


NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The migration's name in the configuration.")]


@migration.command("list")
def list_migrations(*, url: UrlOption = DAEMON_URL, output: FormatOption = Format.TEXT) -> None:
    """List the configured migrations with their phase and the verdict of both gates, and others that were found."""
    answer = _api(url).get("migrations")
    if output is Format.JSON:
        write_json(answer)
        return
    listed: list[dict[str, Any]] = answer["migrations"]
    if listed:
        rows = [(one["name"], one["phase"], *(gate["verdict"] for gate in one["gates"])) for one in listed]
        write_table(("name", "phase", "stop-publish", "remove-schema"), rows)
    else:
        write_lines(["no migration is configured"])
    for found in answer["found"]:
        write_text(f"\nNot configured: {found['detail']}. To watch it, add below `migrations:`\n")
        write_text(found["configuration"])


@migration.command("show")
def show(name: NameArgument, *, url: UrlOption = DAEMON_URL, output: FormatOption = Format.TEXT) -> None:
    """Show one migration: its phase, who sends and takes what, both verdicts, and the verdicts of before."""
    one = _api(url).get("migrations", name)
    if output is Format.JSON:
        write_json(one)
        return
    write_lines([f"{one['name']}: {one['phase']}", ""])
    if one["producers"]:
        rows = [(p["service"], p["publishes"], p["old_messages"], p["new_messages"], _share(p["complete"]), p["last_old"]) for p in one["producers"]]
        write_table(("producer", "publishes", "old", "new", "complete", "last old"), rows, right=frozenset({"old", "new", "complete"}))
        write_lines([""])
    if one["consumers"]:
        columns = ("consumer", "version", "side", "messages", "trend", "longest silence", "first seen", "last seen")
        write_table(columns, [_consumer(c) for c in one["consumers"]], right=frozenset({"messages", "longest silence"}))
        write_lines([""])
    write_lines(f"{gate['gate']}: {gate['verdict']}. {gate['sentence']}" for gate in one["gates"])
    if one["history"]:
        write_lines(["", "verdicts before:"])
        write_table(("as of", "gate", "verdict", "asked", "reasons"), [_record(record) for record in one["history"]])


@migration.command("check")
def check(
    name: NameArgument,
    *,
    gate: Annotated[AskedGate, typer.Option("--gate", help="stop-publish: may the old schema stop being published? remove-schema: may it be removed?")],
    accept: Annotated[
        list[str] | None,
        typer.Option("--accept", metavar="CODE:REASON", help="Say that a reason is known and accepted. It is printed; it makes no SAFE."),
    ] = None,
    report_only: Annotated[bool, typer.Option("--report-only", help="Print the verdict, and leave with 0 whatever it is.")] = False,
    url: UrlOption = DAEMON_URL,
    output: FormatOption = Format.TEXT,
) -> None:
    """Say whether the old schema may go: SAFE (exit code 0), NOT_SAFE (1) or NOT_ENOUGH_EVIDENCE (3), with every reason."""
    from traced.model.migration import EXIT_CODES, Verdict  # noqa: PLC0415 - `traced --help` has no use for it

    accepted = [_accepted(one) for one in accept or ()]
    answer = _api(url).post("migrations", name, "check", body={"gate": str(gate), "accept": accepted})
    code = EXIT_CODES[Verdict(answer["verdict"])]
    if report_only:
        say(f"report only: without it the exit code is {code}")
    if output is Format.JSON:
        write_json(answer | {"report_only": report_only})
    else:
        _print_verdict(answer)
    raise typer.Exit(0 if report_only else code)


def _print_verdict(answer: dict[str, Any]) -> None:
    window = answer["window"]
    write_lines([f"{answer['verdict']}: {answer['migration']}, {answer['gate']}"])
    write_text(answer["sentence"])
    write_lines(["", f"window {window['from']} to {window['to']}, as of {answer['as_of']}, valid until {answer['valid_until']}"])
    lines = [f"confidence {answer['confidence']:g}"]
    for condition in answer["conditions"]:
        lines.append(f"  {_MARKS[condition['state']]}  {condition['name']}: {condition['detail']}")
        lines += [f"             trace {example['trace_id']}" for example in condition["examples"]]
    write_text("\n".join(lines))
    columns = ("consumer", "units", "old", "unknown", "p", "unseen share", "unseen uses")
    rows = [(c["consumer"], c["units"], c["old"], c["unknown"], _probability(c), c["unseen_share"], c["unseen_uses"]) for c in answer["consumers"]]
    if rows:
        write_lines([""])
        write_table(columns, rows, right=frozenset(columns[1:]))
    write_text(f"\nproves: {answer['provable']}\ndoes not prove: {answer['not_provable']}")
    for title, texts in (("left out", answer["left_out"]), ("be careful", answer["warnings"]), ("what would settle it", answer["next_safe_actions"])):
        if texts:
            write_text("\n".join([f"\n{title}:", *(f"  - {text}" for text in texts)]))
    for one in answer["accepted"]:
        write_text(f"accepted, without effect on the verdict: {one['code']} ({one['reason']})")


def _accepted(text: str) -> dict[str, str]:
    code, colon, reason = text.partition(":")
    if not colon or not code.strip() or not reason.strip():
        message = f"--accept {text[:100]!r} is not CODE:REASON"
        raise ConfigurationError(message, next_safe_actions=("Name the reason's code and why it is accepted, with a colon between.",))
    return {"code": code.strip(), "reason": reason.strip()}


def _consumer(one: dict[str, Any]) -> tuple[object, ...]:
    silence = f"{one['longest_silence_seconds']} s"
    version = one["message_schema_version"] or "unknown"
    return (one["consumer"], version, one["side"], one["messages"], one["trend"], silence, one["first_seen"], one["last_seen"])


def _record(one: dict[str, Any]) -> tuple[object, ...]:
    return (one["as_of"], one["gate"], one["verdict"], "asked" if one["explicit"] else "changed", ", ".join(one["reasons"]))


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"


def _probability(one: dict[str, Any]) -> str:
    return "unknown" if one["p"] is None else f"{one['p']:g} ({one['p_source']})"


def _api(url: str) -> Any:
    from traced.cli.daemon_api import DaemonApi  # noqa: PLC0415 - loads urllib and ssl, which `traced --help` has no use for

    return DaemonApi(url)
