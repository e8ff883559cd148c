"""Whatever senders call themselves, the page has the same tags as with plain names, and nothing that turns text around."""

from __future__ import annotations

import itertools
from html.parser import HTMLParser
from typing import Any

import pyarrow as pa
import pytest
from asgi_client import app_over, ask
from fake_views import FakeViews, edge, finding, log, occurrence, span, spans
from hostile import FRAGMENTS, hostile_names

from traced.model.edge import ConnectionType
from traced.model.schema import LOGS
from traced.pages.rendering import code

KINDS = list(ConnectionType)
FORBIDDEN = set("\u202e\u2066\u200f\x00\x1b\x85\ufffe")


class Tags(HTMLParser):
    """Collects the tags and the names of their attributes, in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, ...]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, *(name for name, _ in attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.seen.append((f"/{tag}",))

    def handle_comment(self, data: str) -> None:
        self.seen.append(("!--", data))

    def handle_decl(self, decl: str) -> None:
        self.seen.append((decl,))


def views_named(names: list[str]) -> FakeViews:
    """Put each name wherever a sender's text is shown."""
    found = [
        finding(n, peer=n, cause=n, signal_name=n, signal_type="span", message=n, how_to_fix=n, fingerprint=f"{i:016x}", context={n: n, "list": [n]})
        for i, n in enumerate(names)
    ]
    edges = [edge(a, b, 5 + i, i % 2, KINDS[i % 4]) for i, (a, b) in enumerate(itertools.pairwise(names))]
    rows = [span(i + 1, i // 2, n, name=n, status_code=2, status_message=n) for i, n in enumerate(names)]
    claims = [occurrence(span_id=i + 1, cause=n, peer=n, service=n) for i, n in enumerate(names)]
    logs = [log(span_id=i, severity_text=n, service_name=n, body=n, event_name=n) for i, n in enumerate(names)]
    records = pa.Table.from_pylist(_storable(logs), schema=LOGS)
    return FakeViews(found, claims, edges, {(0, 0xABC): spans(*_storable(rows))}, {(0, 0xABC): records, (0, 0xDEF): records})


def _storable(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Take out lone surrogates: Arrow text is UTF-8 and cannot hold them; findings and edges could."""
    return [{k: v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for k, v in row.items()} for row in rows]


def plain_names(count: int) -> list[str]:
    return [f"plain-{i:03}" for i in range(count)]


@pytest.mark.parametrize("seed", range(10))
def test_a_hundred_hostile_names_leave_every_tag_as_it_was(seed: int):
    hostile, plain = app_over(views_named(hostile_names(100, seed))), app_over(views_named(plain_names(100)))
    for path in ("/", "/traces/abc", "/traces/def"):
        answer = ask(hostile, path, headers={"accept": "text/html"})
        assert answer.status_code == 200, path
        assert sorted(Tags(answer.text).seen) == sorted(Tags(ask(plain, path, headers={"accept": "text/html"}).text).seen), path
        assert not FORBIDDEN & set(answer.text), path
        assert any(name in answer.text for name in ("{{ 7 * 7 }}", "{% raw %}")), path


def test_a_finding_of_any_name_has_a_page_of_the_same_tags():
    names = [*FRAGMENTS, *hostile_names(100, 99)]
    plain = sorted(Tags(ask(app_over(views_named(plain_names(1))), f"/findings/{0:016x}").text).seen)
    hostile = app_over(views_named(names))
    for number, name in enumerate(names):
        html = ask(hostile, f"/findings/{number:016x}", headers={"accept": "text/html"}).text
        assert sorted(Tags(html).seen) == plain, name
        assert not FORBIDDEN & set(html), name


def test_the_check_itself_sees_one_unescaped_tag():
    assert Tags("<p><b>x</b></p>").seen != Tags("<p>x</p>").seen


def test_names_are_put_in_front_of_people_not_dropped():
    html = ask(app_over(views_named([FRAGMENTS[0], "b"])), "/").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_json_twins_carry_hostile_names_unchanged():
    names = [n.encode("utf-8", "replace").decode() for n in hostile_names(100, 1)]
    body = ask(app_over(views_named(names)), "/api/v1/findings").json()
    assert [f["service"] for f in body["findings"]] == names


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("Check `otel.sdk` first.", "Check <code>otel.sdk</code> first."),
        ("`<b>` and <i>", "<code>&lt;b&gt;</code> and &lt;i&gt;"),
        ("a lone ` stays, <escaped>", "a lone ` stays, &lt;escaped&gt;"),
        ("", ""),
    ],
)
def test_backticks_make_code_and_everything_is_escaped(text: str, html: str):
    assert code(text) == html
