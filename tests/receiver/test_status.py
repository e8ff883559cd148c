"""The hand-written google.rpc.Status reads back through Google's own classes."""

from __future__ import annotations

import json

import grpc
import pytest
from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2

from traced.errors import InvalidRequestError, OverloadedError, StoreError, TooLargeError
from traced.receiver.refusals import RefusalReason, refusal_of
from traced.receiver.status import RpcCode, Status, http_status

STATUSES = [
    Status(RpcCode.UNAVAILABLE, "busy", retry_after_seconds=7),
    Status(RpcCode.UNAVAILABLE, "busy", retry_after_seconds=300),
    Status(RpcCode.INVALID_ARGUMENT, "no", bad_request="resourceSpans[0]: an object is expected here"),
    Status(RpcCode.RESOURCE_EXHAUSTED, "größer als erlaubt"),
    Status(RpcCode.INTERNAL, "x" * 5000, retry_after_seconds=0),
    Status(RpcCode.INVALID_ARGUMENT, "half a pair: \ud800", bad_request="\udfff"),
]


def _parsed(status: Status) -> tuple[status_pb2.Status, status_pb2.Status]:
    return status_pb2.Status.FromString(status.to_protobuf()), json_format.Parse(status.to_json(), status_pb2.Status())


@pytest.mark.parametrize("status", STATUSES)
def test_protobuf_and_json_say_the_same_and_what_was_meant(status: Status) -> None:
    from_protobuf, from_json = _parsed(status)
    assert from_protobuf == from_json
    assert from_protobuf.code == status.code
    assert len(from_protobuf.message) <= 1024
    details = {detail.type_url.rpartition(".")[2]: detail for detail in from_protobuf.details}
    assert ("RetryInfo" in details) == (status.retry_after_seconds is not None)
    if "RetryInfo" in details:
        info = error_details_pb2.RetryInfo()
        assert details["RetryInfo"].Unpack(info)
        assert info.retry_delay.seconds == status.retry_after_seconds
    assert ("BadRequest" in details) == (status.bad_request is not None)
    if "BadRequest" in details:
        bad = error_details_pb2.BadRequest()
        assert details["BadRequest"].Unpack(bad)
        assert bad.field_violations[0].description


def test_codes_have_the_numbers_of_grpc() -> None:
    assert {code.name: int(code) for code in RpcCode}.items() <= {code.name: code.value[0] for code in grpc.StatusCode}.items()


def test_http_statuses_that_senders_retry_are_those_of_retryable_codes() -> None:
    retryable = {RpcCode.CANCELLED, RpcCode.DEADLINE_EXCEEDED, RpcCode.ABORTED, RpcCode.OUT_OF_RANGE, RpcCode.UNAVAILABLE, RpcCode.DATA_LOSS}
    for code in RpcCode:
        assert (http_status(code, retryable=False) in {429, 502, 503, 504}) == (code in retryable), code
    assert http_status(RpcCode.RESOURCE_EXHAUSTED, retryable=True) == 429
    assert http_status(RpcCode.RESOURCE_EXHAUSTED, retryable=False) == 413
    assert http_status(RpcCode.INVALID_ARGUMENT, retryable=False) == 400


def test_overload_is_always_retryable_and_dated_and_its_reason_is_from_the_closed_list() -> None:
    known = refusal_of(OverloadedError("full", retry_after_seconds=4, reason="disk_full"))
    assert (known.code, known.status, known.reason, known.retry_after_seconds) == (RpcCode.UNAVAILABLE, 503, RefusalReason.DISK_FULL, 4)
    unknown = refusal_of(OverloadedError("full", retry_after_seconds=0, reason="something <new>"))
    assert (unknown.reason, unknown.retry_after_seconds) == (RefusalReason.OTHER, 1)


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (InvalidRequestError("bad"), RpcCode.INVALID_ARGUMENT, 400),
        (TooLargeError("big"), RpcCode.RESOURCE_EXHAUSTED, 413),
        (StoreError("broken"), RpcCode.INTERNAL, 500),
    ],
)
def test_final_errors_carry_no_retry_info(error: Exception, code: RpcCode, status: int) -> None:
    refusal = refusal_of(error)  # type: ignore[arg-type]
    assert (refusal.code, refusal.status) == (code, status)
    assert refusal.rpc_status().retry_after_seconds is None
    assert "RetryInfo" not in json.dumps(json.loads(refusal.rpc_status().to_json()))
