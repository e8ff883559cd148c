"""Which shape a loss has, where the spans of an instance before, after and meanwhile decide; and nothing where they do not."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator

import pytest
from looking import NOW, look, new_passes
from spans import EPOCH, spans

from traced.detectors.orphan_span import fix, sentence
from traced.model.occurrence import Occurrence

DETECTOR = "orphan_span"
SECOND = 10**9

Line = tuple[int, str, str]
"""When a span ends (ms), its letter, and its line."""


def request(n: int, instance: str, *, apart: int = 100, tax: bool = True) -> list[Line]:
    """Give a request every so many ms: web calls cart (c), which has a span of its own inside (d) and calls tax (e, f)."""
    at = n * apart
    words = {
        "a": ("web SERVER", "", "", 0, 90),
        "b": ("web CLIENT", "a", "name=get", 1, 80),
        "c": ("cart SERVER", "b", f"name=get instance={instance} remote", 2, 60),
        "d": ("cart INTERNAL", "c", f"name=work instance={instance} local", 10, 20),
        "e": ("cart CLIENT", "c", f"name=rate instance={instance} local", 32, 24),
        "f": ("tax SERVER", "e", "name=rate instance=tax-1 remote", 34, 20),
    }
    lines = []
    for letter, (who, parent, rest, start, lasts) in words.items():
        if tax or letter not in "ef":
            parents = f"<{parent}{n}" if parent else ""
            lines.append((at + start + lasts, letter, f"{who} m{n}:{letter}{n}{parents} +{at + start}ms ~{lasts}ms {rest}"))
    return lines


def world(lost: Callable[[Line], bool], instances: Callable[[int], str] = lambda n: f"cart-{n % 2 + 1}", number: int = 120) -> list[str]:
    """Give requests without what is lost."""
    return [line for n in range(number) for line in (one[2] for one in request(n, instances(n)) if not lost(one))]


def of(instance: str, line: Line) -> bool:
    return f"instance={instance}" in line[2]


def shapes(lines: Collection[str]) -> Counter[tuple[str, str, str]]:
    return Counter((o.cause, o.context.get("loss_shape", ""), o.context.get("loss_instance", "")) for o in look(lines).found(DETECTOR).values())


def one(lines: Collection[str], shape: str) -> Occurrence:
    return next(o for o in look(lines).found(DETECTOR).values() if o.context.get("loss_shape") == shape and o.cause == "local_loss")


def lost_batch(line: Line) -> bool:
    return of("cart-1", line) and 4_035 < line[0] < 6_035


def test_a_stretch_in_which_one_instance_ended_nothing_is_a_batch_of_it() -> None:
    lines = world(lost_batch)
    assert shapes(lines) == {("local_loss", "batch", "cart-1"): 1, ("upstream_loss", "batch", "cart-1"): 10}
    found = one(lines, "batch")
    assert found.context["shape_by_chance"] < 1e-3
    said = sentence(found, 1)
    assert "with all that instance cart-1 ended between 2023-11-14T22:13:24.030" in said
    assert "and 2023-11-14T22:13:26.056" in said
    assert "One export of cart was lost, of its instance cart-1" in fix(found)


def test_where_nothing_was_asked_for_meanwhile_a_pause_is_no_batch() -> None:
    quiet = [n for n in range(120) if not 40 < n < 60]
    lines = [line for n in quiet for _, letter, line in request(n, "cart-1") if (n, letter) != (40, "c")]
    assert shapes(lines) == {("local_loss", "", ""): 2}


def test_losses_one_by_one_have_no_shape() -> None:
    rng = random.Random(1)
    found = shapes(world(lambda line: of("cart", line) and rng.random() < 0.05))
    assert {shape for _, shape, _ in found} == {""}
    assert found.total() > 5


def test_an_instance_that_ends_while_another_begins_was_replaced() -> None:
    def who(n: int) -> str:
        return "cart-2" if n % 2 else "cart-1" if n < 60 else "cart-3"

    lines = world(lambda line: of("cart-1", line) and line[0] > 5_635, who)
    assert shapes(lines) == {("local_loss", "restart", "cart-1"): 1, ("upstream_loss", "restart", "cart-1"): 2}
    found = one(lines, "restart")
    assert found.context["replaced_by"] == "cart-3"
    assert "when instance cart-1 ended" in sentence(found, 1)
    assert "SIGTERM" in fix(found)


def test_an_instance_that_ends_and_nobody_takes_its_place_was_not_replaced() -> None:
    lines = world(lambda line: of("cart-1", line) and line[0] > 5_635)
    assert {shape for _, shape, _ in shapes(lines)} == {""}


def burst(seed: int = 1, since: int = 4_000, until: int = 6_500) -> Callable[[Line], bool]:
    rng = random.Random(seed)
    return lambda line: line[1] == "c" and of("cart-1", line) and since < line[0] < until and rng.random() < 0.5


def test_a_share_that_is_missing_for_a_while_is_a_full_queue() -> None:
    lines = world(burst())
    found = shapes(lines)
    assert set(found) == {("local_loss", "queue_full", "cart-1")}
    one_of_them = one(lines, "queue_full")
    facts = one_of_them.context
    assert facts["missing_in_burst"] == found.total() / 2
    assert facts["seen_in_burst"] <= 13
    assert facts["missing_elsewhere"] == 0
    said = (
        f"{facts['missing_in_burst']} of {facts['seen_in_burst']} spans of instance cart-1 with children are missing, otherwise 0 of {facts['seen_elsewhere']}."
    )
    assert said in sentence(one_of_them, 1)
    assert "OTEL_BSP_MAX_QUEUE_SIZE" in fix(one_of_them)


@pytest.mark.parametrize(("since", "until"), [(-1, 1_500), (10_500, 99_000)], ids=["at its beginning", "at its end"])
def test_a_burst_of_which_one_side_is_not_known_has_no_shape(since: int, until: int) -> None:
    assert {shape for _, shape, _ in shapes(world(burst(1, since, until)))} == {""}


def test_a_share_that_is_always_missing_is_no_full_queue() -> None:
    assert {shape for _, shape, _ in shapes(world(burst(1, 0, 99_000)))} == {""}


def test_spans_whose_resource_names_no_instance_have_no_shape() -> None:
    lines = [re.sub(r" instance=\S+", "", line) for line in world(lost_batch, lambda _: "cart-1")]
    assert {shape for _, shape, _ in shapes(lines)} == {""}


def passing(lines: Collection[str]) -> Iterator[Collection[str]]:
    """Divide lines by request."""
    by_trace: dict[str, list[str]] = {}
    for line in lines:
        by_trace.setdefault(line.split()[2].split(":")[0], []).append(line)
    yield from by_trace.values()


def test_what_the_instance_did_afterwards_is_waited_for_and_then_decides() -> None:
    passes = new_passes()
    lines = list(passing(world(lost_batch)))
    at = EPOCH + 8 * SECOND
    for some in (lines[:41], lines[41:60]):
        passes.run(spans(*(line for request in some for line in request)).settled(), NOW, at)
    first = passes.run(spans(*lines[40]).settled(), NOW, at)
    [orphan] = [o for o in first.occurrences if o.id == DETECTOR and o.cause == "local_loss"]
    assert "loss_shape" not in orphan.context
    assert first.later == {orphan.trace_id: 20.0}
    passes.run(spans(*(line for request in lines[60:] for line in request)).settled(), NOW, at)
    last = passes.run(spans(*lines[40]).settled(), NOW, at)
    assert {o.context.get("loss_shape") for o in last.occurrences if o.id == DETECTOR and o.cause == "local_loss"} == {"batch"}
    assert last.later == {}
