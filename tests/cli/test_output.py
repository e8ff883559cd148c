"""Nothing that telemetry says is obeyed by a terminal, a spreadsheet or Graphviz."""

from __future__ import annotations

import json
import time
from xml.etree import ElementTree as ET

import pytest

from traced.cli.graph import as_dot
from traced.cli.output import clean, csv_cell, write_json, write_table
from traced.cli.svg import as_svg
from traced.model.edge import ConnectionType, Edge, EdgeCounts, EdgeKey


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("\x1b]0;title\x07cart", "cart"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9d52;c;aGk=\x9ccart", "cart"),
        ("\x1b(Bcart", "(Bcart"),
        ("a\r\nb\tc\x85d\u2028e", "a b c d e"),
        ("\x00\x07\x08\x7f\x80cart", "cart"),
        ("\u202etrac\u2066", "trac"),
        ("lone \ud800", "lone "),
        ("größe 名前 🛒", "größe 名前 🛒"),
    ],
)
def test_control_characters_and_escape_sequences_are_gone(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_an_endless_escape_sequence_costs_no_time_and_a_long_text_is_cut() -> None:
    started = time.monotonic()
    assert len(clean("\x1b]" * 1_000_000)) < 10
    assert len(clean("x" * 1_000_000)) == 2000
    assert time.monotonic() - started < 1


def test_a_table_is_plain_when_piped_and_takes_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    write_table(("service", "calls"), [["[bold]cart[/bold]", 7], [None, 1234]], right=frozenset({"calls"}))
    assert capsys.readouterr().out == "service            calls\n[bold]cart[/bold]      7\n                    1234\n"


def test_a_table_on_a_terminal_keeps_every_character_of_a_cell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    write_table(("name",), [["[red]x[/red] :cart: " + "y" * 100]])
    out = capsys.readouterr().out
    assert "[red]x[/red] :cart:" in out
    assert out.count("y") == 100


def test_json_is_ascii_so_that_no_terminal_obeys_it(capsys: pytest.CaptureFixture[str]) -> None:
    write_json({"name": "\x9b31m\u202e\ud800é"})
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == {"name": "\x9b31m\u202e\ud800é"}


@pytest.mark.parametrize(
    ("value", "cell"),
    [("=1+1", "'=1+1"), ("@x", "'@x"), ("-x", "'-x"), (-5, "-5"), (None, ""), (True, "True"), ([1], "[1]"), ({"a": 1}, '{"a": 1}'), ("a\nb", "a b")],
)
def test_a_csv_cell_is_no_formula(value: object, cell: str) -> None:
    assert csv_cell(value) == cell


def test_a_hostile_name_stays_inside_its_dot_string() -> None:
    edge = {"client": 'a"];evil', "server": "b\\", "connection_type": "database", "calls": 3, "errors": 1}
    assert as_dot([edge], [])[-2] == '  "a\\"];evil" -> "b\\\\" [label="3, 1 failed (database)", style=dashed, color=red];'


def test_the_svg_is_well_formed_whatever_the_names_are() -> None:
    hostile = "<script>alert(\"\x00\x1b[31m&\ud800')</script>"
    edges = [
        Edge(EdgeKey(hostile, "cart"), EdgeCounts(calls=3, errors=1)),
        Edge(EdgeKey("cart", "redis", ConnectionType.DATABASE), EdgeCounts(calls=2)),
        Edge(EdgeKey("cart", "billing", ConnectionType.MESSAGING_SYSTEM), EdgeCounts(calls=2)),
        Edge(EdgeKey("user", hostile, ConnectionType.VIRTUAL_NODE), EdgeCounts(calls=2)),
    ]
    svg = ET.fromstring("\n".join(as_svg(edges)))  # noqa: S314 - our own text
    names = {title.text for title in svg.iterfind(".//{*}g/{*}title")}
    assert names == {"<script>alert(\"&')</script>", "cart", "redis", "billing", "user"}
    assert len(svg.findall("{*}g/{*}path")) == 4
    assert not svg.findall(".//{*}script")


def test_a_graph_without_edges_is_an_empty_picture_and_a_huge_one_says_what_it_leaves_out() -> None:
    assert ET.fromstring("\n".join(as_svg([]))).findall("{*}g/{*}path") == []  # noqa: S314 - our own text
    many = [Edge(EdgeKey(f"a{n}", f"b{n}"), EdgeCounts(calls=n)) for n in range(500)]
    assert "of 1000 nodes" in "\n".join(as_svg(many))
