"""What a sampled span stands for is said where the sender says how it sampled, and left unknown elsewhere."""

from __future__ import annotations

import pytest
from looking import look
from spans import many

QUARTER, HALF, ALL = 'state="ot=th:c"', 'state="ot=th:8"', 'state="ot=th:0"'


def adjusted(*lines: str) -> float | None:
    """Give the adjusted calls of the edge from web to cart."""
    counts = {(key.client, key.server): counts for key, counts in look(lines).outcome.edges.items()}
    return counts["web", "cart"].adjusted_calls


@pytest.mark.parametrize(
    ("client", "server", "expected"),
    [
        pytest.param(QUARTER, QUARTER, 40.0, id="one in four is kept"),
        pytest.param(ALL, ALL, 10.0, id="all are kept, and it is said"),
        pytest.param(HALF, QUARTER, 40.0, id="two samplers: what both keep is what the stricter one keeps"),
        pytest.param(QUARTER, "", None, id="one half does not say"),
        pytest.param("", "", None, id="nobody says: not even that all were kept"),
        pytest.param("state=vendor=1", "state=vendor=1", None, id="another vendor's state"),
        pytest.param('state="ot=rv:00000000000001"', 'state="ot=rv:00000000000001"', None, id="randomness without a threshold"),
    ],
)
def test_calls_before_sampling(client: str, server: str, expected: float | None) -> None:
    assert adjusted(*many(10, f"web CLIENT b {client}", f"cart SERVER c<b {server}")) == expected


def test_an_edge_some_of_whose_calls_do_not_say_has_no_adjusted_count() -> None:
    assert adjusted(*many(10, f"web CLIENT b {HALF}", f"cart SERVER c<b {HALF}"), "web CLIENT n:b", "cart SERVER n:c<b") is None


def test_an_occurrence_stands_for_what_its_own_span_says() -> None:
    seen = look(["web SERVER a", f"cart SERVER c<x {QUARTER}", "web SERVER n:a", "cart SERVER n:c<x"])
    assert {place: o.adjusted_count for place, o in seen.found("orphan_span").items()} == {"c": 4.0, "n:c": None}


def test_an_occurrence_of_a_half_that_waited_says_it_too() -> None:
    intact = many(30, "web CLIENT b addr=cart +1ms ~90ms", "cart SERVER c<b +2ms ~88ms")
    seen = look([*intact, f"web CLIENT n:b addr=cart {HALF} +1ms ~90ms"], hold_nanos=0)
    assert [o.adjusted_count for o in seen.found("missing_server_span").values()] == [2.0]
