"""The ledger beside a segment: whole records count, torn and damaged ones do not."""

from __future__ import annotations

import os

import pytest

from traced.store.ledger import Ledger, Noted, read_ledger


@pytest.fixture
def path(tmp_path):
    ledger = Ledger(tmp_path / "l", 6)
    for batch in (7, 8, 9):
        ledger.note(batch, 1000 + batch, batch * 10)
    ledger.close()
    return tmp_path / "l"


def test_it_says_what_came_before_and_what_was_committed_last(path):
    assert read_ledger(path) == Noted(before=6, last=9, spans=90)


def test_only_its_owner_can_read_it(path):
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("cut", range(1, 28))
def test_a_torn_last_record_is_ignored(path, cut):
    os.truncate(path, path.stat().st_size - cut)
    assert read_ledger(path) == Noted(6, 8, 80)


def test_a_damaged_record_does_not_hide_those_behind_it(path):
    content = bytearray(path.read_bytes())
    content[28 + 3] ^= 0x10
    path.write_bytes(content)
    assert read_ledger(path) == Noted(6, 9, 90)


@pytest.mark.parametrize("content", [b"", b"x" * 27, bytes(28)])
def test_without_a_whole_record_it_says_nothing(tmp_path, content):
    (tmp_path / "l").write_bytes(content)
    assert read_ledger(tmp_path / "l") is None


def test_a_missing_one_says_nothing(tmp_path):
    assert read_ledger(tmp_path / "absent") is None


def test_nothing_is_noted_after_it_was_closed(tmp_path):
    ledger = Ledger(tmp_path / "l", 0)
    ledger.close()
    ledger.close()
    with pytest.raises(OSError, match="closed"):
        ledger.note(1, 1, 1)
