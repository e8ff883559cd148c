"""Decompression gives back what was compressed, and stops where it must."""

from __future__ import annotations

import gzip
import random

import pytest

from traced.errors import InvalidRequestError
from traced.receiver.inflating import inflate
from traced.receiver.refusals import RefusedError


def test_inflating_stops_one_piece_after_the_limit_and_keeps_nothing_of_a_bomb() -> None:
    bomb = gzip.compress(bytes(64 << 20))
    held: list[int] = []
    with pytest.raises(RefusedError):
        inflate(bomb, "gzip", 16 << 20, held.append)
    assert sum(held) <= 3 << 20


def test_inflating_gives_back_what_was_compressed_and_refuses_what_was_not() -> None:
    rng = random.Random(1)
    for size in (0, 1, 65_535, 65_536, 300_000, 3_000_000):
        plain = rng.randbytes(size // 2) + bytes(size - size // 2)
        assert inflate(gzip.compress(plain), "gzip", size, lambda _: None) == plain
        assert inflate(gzip.compress(plain) + b"\0" * 70_000 + gzip.compress(b"."), "gzip", size + 1, lambda _: None) == plain + b"."
    for wrong in (b"", b"x", gzip.compress(b"x") + b"y", gzip.compress(b"")[:-1], gzip.compress(b"") * 3000):
        with pytest.raises(InvalidRequestError):
            inflate(wrong, "gzip", 100, lambda _: None)
