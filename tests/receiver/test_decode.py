"""The decoder gives the rows of the reference decoder, whatever the request and whatever its encoding."""

from __future__ import annotations

from typing import Any

import pytest
from otlp_random import Requests, as_json
from otlp_reference import Expected, Row, expected_logs, expected_spans, rows_of

from traced.model.batch import Batch
from traced.receiver.decode import decode_logs, decode_traces
from traced.receiver.json_requests import logs_from_json, traces_from_json
from traced.receiver.wire import Limits

GROUPS, REQUESTS = 12, 50


def assert_as_expected(batches: list[Batch], expected: list[Expected], requests: list[Any]) -> None:
    for batch, one, request in zip(batches, expected, requests, strict=True):
        assert batch.items.num_rows == len(one.rows), request
        assert (batch.rejected, batch.altered) == (one.rejected, one.altered), request
        assert batch.received == len(one.rows) + one.rejected.total()
    wanted: list[Row] = [row for one in expected for row in one.rows]
    owners = [request for one, request in zip(expected, requests, strict=True) for _ in one.rows]
    for row, other, request in zip(rows_of(*batches), wanted, owners, strict=True):
        different = {name: (row.get(name), other.get(name)) for name in row.keys() | other.keys() if row.get(name) != other.get(name)}
        assert not different, request


@pytest.mark.parametrize("seed", range(GROUPS))
def test_trace_requests_give_the_rows_of_the_reference_decoder_from_protobuf_and_json(seed: int) -> None:
    source = Requests(seed)
    requests = [source.traces() for _ in range(REQUESTS)]
    expected = [expected_spans(request) for request in requests]
    assert_as_expected([decode_traces(request.SerializeToString(), Limits()) for request in requests], expected, requests)
    assert_as_expected([decode_traces(traces_from_json(as_json(request))[0], Limits()) for request in requests], expected, requests)


@pytest.mark.parametrize("seed", range(GROUPS // 2))
def test_log_requests_give_the_rows_of_the_reference_decoder_from_protobuf_and_json(seed: int) -> None:
    source = Requests(1000 + seed)
    requests = [source.logs() for _ in range(REQUESTS)]
    expected = [expected_logs(request) for request in requests]
    assert_as_expected([decode_logs(request.SerializeToString(), Limits()) for request in requests], expected, requests)
    assert_as_expected([decode_logs(logs_from_json(as_json(request))[0], Limits()) for request in requests], expected, requests)
