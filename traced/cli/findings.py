"""`traced findings`: the open findings of a running daemon."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

import typer

from traced.cli.explain import no_such_detector
from traced.cli.options import DAEMON_URL, Format, FormatOption, UrlOption
from traced.cli.output import write_json, write_lines, write_table, write_text
from traced.cli.suspects import print_suspects

_FINGERPRINT = re.compile(r"[0-9a-fA-F]{16}")
_COLUMNS = ("fingerprint", "level", "id", "cause", "service", "peer", "count", "message")
MAX_FINDINGS = 5_000


def findings(
    finding: Annotated[str | None, typer.Argument(metavar="ID", help="A fingerprint: that finding with its evidence. A detector's id: its findings.")] = None,
    *,
    url: UrlOption = DAEMON_URL,
    output: FormatOption = Format.TEXT,
) -> None:
    """List what to mend first and the open findings of a running daemon, or show one finding with its evidence."""
    from traced.cli.daemon_api import DaemonApi  # noqa: PLC0415 - loads urllib and ssl, which `traced --help` has no use for
    from traced.detectors import detector_ids  # noqa: PLC0415

    api = DaemonApi(url)
    if finding is not None and _FINGERPRINT.fullmatch(finding):
        one = api.get("findings", finding.lower())
        if output is Format.JSON:
            write_json(one)
        else:
            _print_one(one)
        return
    if finding is not None and finding not in detector_ids():
        raise no_such_detector(finding)
    answer = api.get("findings", id=finding, limit=MAX_FINDINGS)
    if output is Format.JSON:
        write_json(answer)
        return
    listed: list[dict[str, Any]] = answer["findings"]
    if not listed:
        write_lines(["no open findings"])
        return
    print_suspects(answer)
    write_table(_COLUMNS, [[one[name] for name in _COLUMNS] for one in listed], title=f"{len(listed)} open findings", right=frozenset({"count"}))
    if answer["total"] > len(listed):
        write_lines([f"… {answer['total']} in all"])


def _print_one(one: dict[str, Any]) -> None:
    lines = [f"{one['level']}  {one['id']}  {one['fingerprint']}", "", one["message"], ""]
    about = (
        ("service", one["service"]),
        ("peer", one["peer"]),
        (one["signal_type"], one["signal_name"]),
        ("cause", f"{one['cause']} (confidence {one['confidence']})" if one["cause"] else ""),
        ("open occurrences", one["count"]),
        ("before sampling", "unknown" if one["adjusted_count"] is None else f"about {one['adjusted_count']:.0f}"),
        ("first seen", one["first_seen"]),
        ("last seen", one["last_seen"]),
        ("how to fix", one["how_to_fix"]),
    )
    lines += [f"{name + ':':<18}{value}" for name, value in about if value not in (None, "")]
    if one["context"]:
        lines += ["", "evidence of the newest occurrence:"]
        lines += [f"  {name} = {json.dumps(value, ensure_ascii=False)}" for name, value in one["context"].items()]
    if one["examples"]:
        lines += ["", "examples (trace id / span id):"]
        lines += [f"  {example['trace_id']} / {example['span_id'] or '-'}" for example in one["examples"]]
    lines += ["", f"`traced explain {one['id']}` says what this means and when it is wrong."]
    write_text("\n".join(lines))
