"""A few thousand mutated requests, the same each time; `fuzz_decode.py` beside this tries as many as one likes."""

from __future__ import annotations

import pytest
from fuzz_decode import Findings, fuzz, try_one

from traced.errors import InvalidRequestError
from traced.model.batch import Batch

INPUTS = 1_500


def test_no_mutated_request_ends_in_anything_but_an_answer_or_a_refusal(capfd: pytest.CaptureFixture[str]) -> None:
    findings = fuzz(INPUTS, seed=2)
    assert findings.failures == []
    # the mutations reach every depth: some are refused, some cost a span, some change one, some are as good as before
    assert {
        name: findings.outcomes[name] > INPUTS // 100 for name in ("refused", "rejected some", "altered some", "taken", "read by protobuf")
    } == dict.fromkeys(
        ("refused", "rejected some", "altered some", "taken", "read by protobuf"),
        True,
    )
    assert capfd.readouterr().err == "", "nothing panicked"


def test_the_fuzzer_notices_what_must_not_be() -> None:
    class PanicError(BaseException):
        pass

    def fail(error: BaseException) -> Batch:
        raise error

    findings = Findings()
    try_one(findings, b"", lambda: fail(ValueError("x")), None)
    try_one(findings, b"", lambda: fail(PanicError("x")), None)
    try_one(findings, b"", lambda: fail(InvalidRequestError("x")), None)
    assert [what for what, _ in findings.failures] == ["ValueError: x", "PanicError: x"]
    assert findings.outcomes == {"refused": 1}
