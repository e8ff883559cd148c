"""What other rooms keep across restarts: whole or not at all."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traced.store.state import StateFiles, _pieces

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


@given(JSON)
def test_the_pieces_of_a_value_are_its_json(value):
    assert json.loads("".join(_pieces(value))) == value


@pytest.mark.parametrize("length", [0, 1, 999, 1000, 1001, 5000])
def test_a_long_list_is_kept_in_pieces_of_which_none_is_long(tmp_path, length):
    state = {"rows": [[number, f"name {number}", None] for number in range(length)], "deep": {"more": list(range(length))}, "": {}}
    files = StateFiles(tmp_path, durable=True)
    files.save("analysis", state)
    assert files.load("analysis") == state
    assert json.loads(gzip.decompress((tmp_path / "analysis.json.gz").read_bytes())) == state
    assert max(map(len, _pieces(state))) < 50_000


def test_a_state_that_cannot_be_made_to_json_leaves_the_one_before(tmp_path):
    files = StateFiles(tmp_path, durable=True)
    files.save("analysis", {"cut": 1})
    with pytest.raises(TypeError):
        files.save("analysis", {"cut": object()})
    assert files.load("analysis") == {"cut": 1}


def test_a_damaged_state_is_as_none(tmp_path):
    files = StateFiles(tmp_path, durable=False)
    assert files.load("analysis") is None
    files.save("analysis", {"cut": 1})
    path = tmp_path / "analysis.json.gz"
    path.write_bytes(path.read_bytes()[:-4])
    assert files.load("analysis") is None
