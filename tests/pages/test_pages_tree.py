"""A trace as rows: every span once, whatever its parents are, and absent parents as rows of their own."""

from __future__ import annotations

import re
import time

from asgi_client import app_over, ask
from fake_views import FakeViews, occurrence, span, spans
from hypothesis import given, settings
from hypothesis import strategies as st

from traced.pages.tree import MAX_INDENT, MAX_ROWS, Tree, tree_of

CLIENT, SERVER = 3, 2


def shape(tree: Tree) -> list[tuple[int, str]]:
    return [(row.depth, ("?" if row.missing else "") + row.span_id[-2:]) for row in tree.rows]


def test_children_hang_under_their_parents_by_start_time():
    tree = tree_of(spans(span(3, 1), span(1), span(4, 2), span(2, 1)), ())
    assert shape(tree) == [(0, "01"), (1, "02"), (2, "04"), (1, "03")]
    assert tree.complete


def test_an_absent_parent_is_a_row_with_all_its_children_below():
    tree = tree_of(spans(span(1), span(2, 0xFF), span(3, 0xFF), span(4, 3)), ())
    assert shape(tree) == [(0, "01"), (0, "?ff"), (1, "02"), (1, "03"), (2, "04")]
    assert (tree.missing, tree.complete) == (1, False)


def test_a_shared_span_id_shows_the_answering_half_under_the_asking_half():
    tree = tree_of(spans(span(1), span(2, 1, kind=CLIENT), span(2, 1, "db", kind=SERVER), span(3, 2)), ())
    assert [(r.depth, r.kind) for r in tree.rows] == [(0, "INTERNAL"), (1, "CLIENT"), (2, "SERVER"), (3, "INTERNAL")]


def test_a_loop_and_a_span_that_is_its_own_parent_are_shown_once_and_marked():
    tree = tree_of(spans(span(1), span(2, 3), span(3, 2), span(4, 4)), ())
    assert shape(tree) == [(0, "01"), (0, "02"), (1, "03"), (0, "04")]
    assert [row.looped for row in tree.rows] == [False, True, False, True]


def test_occurrences_stand_beside_their_spans():
    tree = tree_of(spans(span(1), span(0x11, 0xFF)), [occurrence()])
    assert [len(row.occurrences) for row in tree.rows] == [0, 0, 1]


def test_a_deep_trace_needs_no_recursion_and_is_cut_with_its_total():
    tree = tree_of(spans(*(span(i, i - 1) for i in range(1, 50_001))), ())
    assert (len(tree.rows), tree.total_rows) == (MAX_ROWS, 50_000)
    assert tree.rows[-1].depth == MAX_ROWS - 1
    assert tree.rows[-1].indent == MAX_INDENT


def test_fifty_thousand_spans_of_one_id_do_not_take_quadratic_time():
    rows = [span(7, 7 if i else 0, kind=CLIENT if i % 2 else SERVER) for i in range(50_000)]
    table = spans(*rows)
    began = time.perf_counter()
    assert tree_of(table, ()).total_rows == 50_000
    assert time.perf_counter() - began < 20


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 14), st.integers(0, 6)), max_size=40))
def test_every_span_has_exactly_one_row(rows: list[tuple[int, int, int]]):
    tree = tree_of(spans(*(span(i, parent, kind=kind) for i, parent, kind in rows)), ())
    present = sorted(f"{i:016x}" for i, _, _ in rows)
    assert sorted(row.span_id for row in tree.rows if not row.missing) == present
    absent = {parent for i, parent, kind in rows} - {0} - {i for i, _, _ in rows}
    shown = {int(row.span_id, 16) for row in tree.rows if row.missing}
    assert shown <= absent


def test_the_page_shows_rows_findings_and_how_many_are_left_out():
    table = spans(*(span(i, parent=0xFFFF, name=f"work {i}") for i in range(1, 2_101)))
    views = FakeViews(rows={(0, 0xABC): table}, occurrences=[occurrence(), occurrence(id="clock_skew", span_id=0)])
    html = ask(app_over(views), "/traces/ABC", headers={"accept": "text/html"}).text
    assert "Showing 2,000 of 2,101 rows" in html
    assert '<tr class="missing">' in html
    assert html.count('class="bar"><svg') == 1_999
    assert re.search(r'id="span-0000000000000011".*?orphan_span</a>: upstream_loss, 97 % sure, peer <bdi>web', html, re.DOTALL)
    assert re.search(r"Findings on the whole trace.*clock_skew", html, re.DOTALL)
    assert 'href="/api/v1/traces/00000000000000000000000000000abc"' in html


def test_clocks_at_both_ends_still_make_a_page():
    table = spans(span(1, start_time_unix_nano=0, end_time_unix_nano=2**63 - 1), span(2, 1, end_time_unix_nano=0))
    html = ask(app_over(FakeViews(rows={(0, 0xABC): table})), "/traces/abc", headers={"accept": "text/html"}).text
    for x, width in re.findall(r'class="extent" x="([-\d.]+)" width="([-\d.]+)"', html):
        assert 0 <= float(x) <= 99.5
        assert 0 < float(width) <= 100
