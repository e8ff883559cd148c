"""A batch that is sent again is stored once, whatever lies between: other batches, a seal, a merge, a restart."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest
from store_parts import crash, expected, freeze, held, make_batch, make_logs, metric, open_store, store_all
from thorough import rounds

from traced.store.store import Store


def test_a_resent_batch_is_stored_once_and_its_receipt_says_so(tmp_path):
    with open_store(tmp_path) as store:
        first, again = store_all(store, make_batch(1)), store_all(store, make_batch(1))
        assert (first[0].stored, first[0].repeated) == (10, 0)
        assert (again[0].stored, again[0].repeated) == (0, 10)
        assert held(store) == expected([1])
        assert metric(store, "traced_store_repeated_spans_total", content="equal") == 10
        assert store.repeats(0, 2**62).column("conflicting").to_pylist() == [False] * 10


def test_repeats_within_one_commit_group_are_found(tmp_path):
    with open_store(tmp_path) as store:
        batches = [make_batch(1), make_batch(2), make_batch(1), make_batch(2, 15), make_batch(1)]
        futures = [store.accept(b) for b in batches]
        assert sum(f.result(10).stored for f in futures) == 25
        assert held(store) == expected([1]) + expected([2], 15)


def test_both_halves_of_a_shared_span_id_are_kept(tmp_path):
    with open_store(tmp_path) as store:
        client, server, other = make_batch(1, kind=3, service="web"), make_batch(1, kind=2), make_batch(1, kind=2, service="copy")
        store_all(store, client, server, other, client, server, other)
        assert held(store) == expected([1]) + expected([1]) + expected([1])


def test_a_span_that_comes_again_with_other_content_is_kept_once_and_flagged(tmp_path):
    with open_store(tmp_path) as store:
        store_all(store, make_batch(1))
        store_all(store, make_batch(1, name="changed"))
        assert set(store.spans_of_trace(1, 1).column("name").to_pylist()) == {"GET /cart"}
        repeats = store.repeats(0, 2**62)
        assert repeats.column("conflicting").to_pylist() == [True] * 10
        assert set(repeats.column("name").to_pylist()) == {"changed"}
        assert metric(store, "traced_store_repeated_spans_total", content="conflicting") == 10


def test_a_partly_new_batch_adds_only_what_is_new(tmp_path):
    with open_store(tmp_path) as store:
        store_all(store, make_batch(1, 10))
        assert store_all(store, make_batch(1, 30))[0].stored == 20
        assert held(store) == expected([1], 30)


@pytest.mark.parametrize("seed", range(rounds(1, 3)))
def test_every_batch_sent_five_times_in_random_order_across_seals_restarts_and_crashes_is_there_once(tmp_path, seed):
    rng = random.Random(seed)
    sends = [n for n in range(1, 41) for _ in range(5)]
    rng.shuffle(sends)
    stored = 0
    for part in range(5):
        context = open_store(tmp_path, seal_after_spans=100, merge_files=2)
        store: Store = context.__enter__()
        for number in sends[part * 40 : part * 40 + 40]:
            stored += sum(r.stored for r in store_all(store, make_batch(number)))
        if part % 2:
            crash(store)
        else:
            context.__exit__(None, None, None)
    assert stored == 400
    with open_store(tmp_path) as store:
        assert held(store) == expected(range(1, 41))
        assert metric(store, "traced_store_lost_batches_total") == 0


def test_a_resent_span_is_recognised_after_it_was_sealed_and_merged(tmp_path):
    with open_store(tmp_path, merge_files=2) as store:
        for number in (1, 2):
            store_all(store, make_batch(number))
            freeze(store)
        assert sum(r.stored for r in store_all(store, make_batch(1), make_batch(2), make_batch(3))) == 10
        assert held(store) == expected(range(1, 4))


def test_beyond_the_window_a_resent_span_is_stored_again(tmp_path):
    """What is forgotten cannot be recognised: the memory is bounded by dedup_window_spans, not by luck."""
    with open_store(tmp_path, dedup_window_spans=1000, seal_after_spans=1_000_000) as store:
        store_all(store, make_batch(1))
        for number in range(2, 60):
            store_all(store, make_batch(number, 5000))
        assert store_all(store, make_batch(1))[0].stored == 10


def test_a_chance_collision_of_keys_drops_nothing(tmp_path, monkeypatch):
    import traced.store.repeats as repeats_module
    from traced.store.span_keys import span_keys

    monkeypatch.setattr(repeats_module, "span_keys", lambda batch: span_keys(batch) % 3)
    with open_store(tmp_path) as store:
        store_all(store, *(make_batch(n) for n in range(1, 20)))
        assert held(store) == expected(range(1, 20))


def test_log_records_without_a_fingerprint_are_all_kept(tmp_path):
    with open_store(tmp_path) as store:
        store_all(store, make_logs(1), make_logs(1))
        assert store.logs_of_trace(1, 1).num_rows == 20


def test_repeats_survive_sealing_and_merging(tmp_path):
    with open_store(tmp_path, merge_files=2) as store:
        for number in (1, 2):
            store_all(store, make_batch(number))
            store_all(store, make_batch(number, name="changed"))
            freeze(store)
        repeats = store.repeats(0, 2**62)
        assert isinstance(repeats, pa.Table)
        assert sorted(repeats.column("trace_id_low").to_pylist()) == [1] * 10 + [2] * 10
