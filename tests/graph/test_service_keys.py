"""Habits are kept by namespace and name; of two services of one name each has its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from looking import NOW, new_passes
from spans import many, spans

from traced.graph.calls import Naming
from traced.graph.forest import Forest
from traced.graph.operations import Operations, kin, operated
from traced.graph.reconciling import _instances
from traced.graph.relation import build
from traced.graph.service_keys import name_of, service_key, shown

NAMES = st.text(max_size=5) | st.sampled_from(["cart", "a/b", "a\x1fb", "\x1f", ""])


@settings(deadline=None)
@given(NAMES, NAMES, NAMES, NAMES)
def test_a_key_is_of_one_service_and_gives_its_name(namespace: str, name: str, other_namespace: str, other: str) -> None:
    key = service_key(namespace, name)
    assert name_of(key) == name
    if "\x1f" not in namespace + other_namespace:
        assert (key == service_key(other_namespace, other)) == ((namespace, name) == (other_namespace, other))


@pytest.mark.parametrize(("namespace", "name", "said"), [("", "cart", "cart"), ("prod", "cart", "prod/cart"), ("", "a/b", "a/b"), ("prod", "a/b", "prod/a/b")])
def test_how_a_service_is_shown(namespace: str, name: str, said: str) -> None:
    assert shown(service_key(namespace, name)) == said
    assert service_key("", "cart") == "cart"


def test_operations_of_one_name_in_two_namespaces_are_two_and_lose_no_count() -> None:
    nameless = ["- SERVER n1:a", "unknown_service SERVER n2:a"]
    lines = [*many(20, "prod/web CLIENT b", "prod/cart SERVER c<b"), *(f"staging/cart SERVER s{n}:c<x{n}" for n in range(7)), *nameless]
    made = build(Forest(spans(*lines).staged()), Naming())
    seen = operated(made)
    assert len(set(seen.operations)) == len(seen.operations)
    known = Operations()
    known.learn(kin(made, seen))
    prod, staging = (known.of((service_key(namespace, "cart"), 2, "cart server")) for namespace in ("prod", "staging"))
    assert (prod.spans, prod.present, prod.absent, prod.usual_caller) == (20, 20, 0, "web")
    assert (staging.spans, staging.present, staging.absent, staging.usual_caller) == (7, 0, 7, "")
    assert sum(known.of(operation).spans for operation in known.known()) == 49
    again = Operations()
    again.load(known.dump())
    assert again.of((service_key("prod", "cart"), 2, "cart server")) == prod


def orphans(*lines: str) -> dict[str, Any]:
    outcome = new_passes().run(spans(*lines).settled(), NOW)
    found = [o for o in outcome.occurrences if o.id == "orphan_span"]
    return {o.cause: o for o in found}


def test_an_orphan_is_judged_by_the_habits_of_its_own_namespace() -> None:
    intact = many(200, "prod/web CLIENT b", "prod/cart SERVER c<b")
    found = orphans(*intact, *(f"staging/cart SERVER s{n}:c<x{n}" for n in range(30)), "prod/cart SERVER lost:c<x")
    assert found.keys() == {"upstream_silent", "upstream_loss"}
    silent, lost = found["upstream_silent"].context, found["upstream_loss"].context
    assert (silent["spans_of_the_operation"], silent["with_a_parent_here"], silent["without"]) == (30, 0, 30)
    assert (lost["spans_of_the_operation"], lost["with_a_parent_here"], lost["without"]) == (201, 200, 1)
    assert (found["upstream_loss"].service, found["upstream_loss"].peer) == ("cart", "web")


def test_whose_instance_a_caller_is_is_not_said_where_two_namespaces_have_one() -> None:
    one = ["prod/web SERVER a instance=i1", "cart SERVER c<x"]
    two = ["prod/web SERVER two:a instance=i1", "staging/web SERVER two:b instance=i2", "cart SERVER two:c<x"]
    forest = Forest(spans(*one, *two).staged())
    rows = np.flatnonzero(forest.absent)
    assert sorted(_instances(forest, rows, ["web"] * len(rows))) == ["", "i1"]
