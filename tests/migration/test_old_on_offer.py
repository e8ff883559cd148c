"""Whether the old schema was on offer throughout is told no finer than counts are kept."""

from __future__ import annotations

import pytest
from flow_lines import flows, migration, seen

from traced.migration.verdict import assess
from traced.model.migration import Code, Gate

SHORT = {
    "name": "m",
    "old": {"destination": "orders.v1"},
    "new": {"destination": "orders.v2"},
    "consumers": ["billing"],
    "longest_period": "10s",
    "min_window": "5m",
    "max_unseen_share": 0.2,
}
TAKEN = ("order sends orders.v2 x200 -10m..-0m", "billing takes orders.v2 x200 -10m..-0m")


@pytest.mark.parametrize(
    ("sent", "reasons"),
    [
        (("order sends orders.v1 x200 -10m..-0m",), frozenset()),
        (("order sends orders.v1 x100 -10m..-4m", "order sends orders.v1 x100 -3m..-0m"), frozenset()),
        (("order sends orders.v1 x100 -10m..-5m", "order sends orders.v1 x100 -1m..-0m"), frozenset({Code.OLD_NOT_OFFERED})),
    ],
)
def test_a_pause_of_a_short_window_counts_where_it_is_longer_than_two_minutes(sent: tuple[str, ...], reasons: frozenset[Code]):
    lines = (*TAKEN, *sent)
    (report,) = assess([migration(SHORT)], flows(lines), seen(lines), bucket_minutes=1)
    said = report.gate(Gate.STOP_PUBLISH)
    assert {reason.code for reason in said.reasons} & {Code.OLD_NOT_OFFERED} == reasons, said.sentence
