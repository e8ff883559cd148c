"""Where a loss is told with a shape, it is the shape of the damage; and single losses have none."""

from __future__ import annotations

from collections import Counter

import pytest

from traced.config import Settings
from traced.file_analysis import analyze_requests
from traced.model.batch import Signal
from traced.model.input import InputRequest
from traced.receiver.json_requests import traces_from_json

from .damages import DAMAGES
from .otlp_lines import lines
from .worlds import world

pytestmark = pytest.mark.slow

SEEDS = (7, 23)


def told(name: str, damage: str, seed: int) -> tuple[Counter[str], bool]:
    """Count the lost parents of a damaged set by the shape that is told ('' for none); say whether each shape names an instance that lost spans."""
    clean = world(name, seed, None)
    damaged = DAMAGES[damage].done_to(clean, seed)
    requests = [InputRequest(Signal.TRACES, traces_from_json(line.encode())[0], "") for line in lines(damaged.spans)]
    found = [o for o in analyze_requests(requests, Settings()).occurrences if o.id == "orphan_span" and o.cause in ("local_loss", "upstream_loss")]
    lossy = {clean.spans[uid].resource.instance for uid in damaged.fates if uid not in clean.fates}
    named = {o.context["loss_instance"] for o in found if "loss_instance" in o.context}
    return Counter(str(o.context.get("loss_shape", "")) for o in found), named <= lossy


@pytest.mark.parametrize(
    ("place", "damage", "shape", "least"),
    [
        ("shop", "batch", "batch", 0.9),
        ("fifty", "batch", "batch", 0.5),
        ("streaming", "batch", "batch", 0.6),
        ("shop", "restart", "restart", 0.4),
        ("fifty", "restart", "restart", 0.75),
        ("shop@20", "queue_full", "queue_full", 0.1),
        ("fifty", "queue_full", "queue_full", 0.1),
    ],
)
def test_a_shape_that_is_told_is_that_of_the_damage(place: str, damage: str, shape: str, least: float) -> None:
    together: Counter[str] = Counter()
    for seed in SEEDS:
        shapes, right = told(place, damage, seed)
        assert right
        together += shapes
    assert set(together) <= {shape, ""}
    assert together[shape] >= least * together.total(), together


@pytest.mark.parametrize(
    ("place", "damage"), [("shop", "loss_5"), ("fifty", "loss_5"), ("shop", "drop_server"), ("shop", "drop_client"), ("shop", "dead_midway")]
)
def test_losses_one_by_one_and_services_that_fell_silent_have_no_shape(place: str, damage: str) -> None:
    shapes, _ = told(place, damage, SEEDS[0])
    assert set(shapes) <= {""}
