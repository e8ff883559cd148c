"""Parts and their readers: a view never changes under a reader, and files go when the last one has left."""

from __future__ import annotations

import pytest

from traced.errors import StoreError
from traced.store.catalog import Catalog, Generation, numbers_of, sealed_path, sums_path
from traced.store.segment import Extent, Segment


def generation(directory, first, last=None) -> Generation:
    made = Generation(directory, first, last or first, Extent(), 1)
    for path in (made.path("spans"), made.path("logs"), sums_path(directory, first, last or first)):
        path.write_bytes(b"x")
    return made


def segment(directory, number) -> Segment:
    return Segment.create(directory, number, 64 * 2**20, 1, durable=False)


def test_parts_are_in_the_order_of_their_numbers(tmp_path):
    catalog = Catalog()
    three, one, two = generation(tmp_path, 3), generation(tmp_path, 1), segment(tmp_path, 4)
    catalog.swap((), (three, two, one))
    assert catalog.parts.generations == (one, three)
    assert catalog.parts.segments == (two,)
    two.remove()


def test_files_go_at_once_when_nobody_reads(tmp_path):
    catalog = Catalog()
    one = generation(tmp_path, 1)
    catalog.swap((), (one,))
    catalog.swap((one,), ())
    assert list(tmp_path.iterdir()) == []


def test_a_segment_stays_open_and_on_disk_until_its_last_reader_has_left(tmp_path):
    catalog = Catalog()
    hot = segment(tmp_path, 1)
    catalog.swap((), (hot,))
    with catalog.lease() as first:
        with catalog.lease():
            catalog.swap((hot,), (generation(tmp_path, 1),))
        assert first.segments == (hot,)
        assert hot.cursor().sql("SELECT count(*) FROM span").fetchall() == [(0,)]
        with catalog.lease() as later:
            assert later.segments == ()
            assert len(later.generations) == 1
    assert not list(tmp_path.glob("hot-*"))


def test_a_reader_of_other_parts_keeps_nothing_from_going(tmp_path):
    catalog = Catalog()
    one, two = generation(tmp_path, 1), generation(tmp_path, 2)
    catalog.swap((), (one,))
    with catalog.lease() as early:
        catalog.swap((), (two,))
        catalog.swap((two,), ())
        assert not two.path("spans").exists()
        assert early.generations == (one,)


def test_a_lease_can_be_prolonged_for_files_alone(tmp_path):
    catalog = Catalog()
    one, hot = generation(tmp_path, 1), segment(tmp_path, 2)
    catalog.swap((), (one, hot))
    with catalog.lease() as parts:
        held = catalog.lease_again(parts.generations)
        held.__enter__()
    catalog.swap((one, hot), ())
    assert one.path("spans").exists()
    assert not list(tmp_path.glob("hot-*"))
    held.__exit__(None, None, None)
    assert list(tmp_path.iterdir()) == []


def test_no_view_without_the_rows_of_a_broken_segment_is_given(tmp_path):
    catalog = Catalog()
    hot = segment(tmp_path, 1)
    catalog.swap((), (hot,))
    with catalog.lease():
        hot.broken = True
        assert not catalog.reopen(hot), "somebody reads it"
    with pytest.raises(StoreError, match="reopened"), catalog.lease():
        pass
    with catalog.lease(segments=False) as parts:
        assert parts.segments == ()
    assert catalog.reopen(hot)
    with catalog.lease() as parts:
        assert parts.segments == (hot,)
    hot.remove()


def test_numbers_are_read_from_names_of_ours_only(tmp_path):
    assert numbers_of(sealed_path(tmp_path, "spans", 3, 17)) == (3, 17)
    assert numbers_of(sums_path(tmp_path, 3, 17)) == (3, 17)
    for name in ("spans-3-17.parquet", "spans-00000003-00000017.parquet.tmp", "other-00000003-00000017.parquet", "notes.txt"):
        assert numbers_of(tmp_path / name) is None
