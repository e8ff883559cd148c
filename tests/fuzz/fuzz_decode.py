"""Mutates export requests and decodes them: `python tests/fuzz/fuzz_decode.py --count 1000000`.

Whatever the bytes: an answer or a TracedError, nothing else, soon, and nothing on standard error. Where protobuf's own library
reads the bytes, the decoder must too, and find as many items. The same seed gives the same bytes; what fails is printed as hex.
"""

from __future__ import annotations

import argparse
import faulthandler
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from google.protobuf.message import DecodeError
from otlp_random import Requests, as_json

from traced.errors import InvalidRequestError, TracedError
from traced.model.batch import Batch, Signal
from traced.receiver.decode import decode_logs, decode_traces
from traced.receiver.json_requests import logs_from_json, traces_from_json
from traced.receiver.wire import Limits

DECODERS = {Signal.TRACES: decode_traces, Signal.LOGS: decode_logs}
FROM_JSON = {Signal.TRACES: traces_from_json, Signal.LOGS: logs_from_json}
SLOW_SECONDS = 1.0
TOKENS = (
    b"",
    b"\x00",
    b"\xff",
    b"\x0a\x00",
    b"\x12\x00",
    b"\x80" * 9 + b"\x01",
    b"\xff" * 9 + b"\x01",
    b"\xf7" + b"\xff" * 8 + b"\x7f",
    b"\x80" * 11,
    b"\xff\xff\xff\xff\x07",
    b"\x80\x80\x80\x80\x10",
    b"\xa3\x06",
    b"\xa4\x06",
    b"\x0b" * 30 + b"\x0c" * 30,
    b"\x10\x05\x1a\x00",
    b"\x42\x00",
    b"\x40\x03",
    b"\xed\xa0\x80",
)
JSON_TOKENS = (
    b"",
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"\\",
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"9" * 30,
    b'"\\ud800"',
    b"NaN",
    b",",
    b":",
    b"{}",
    b"[[]]",
    b"\xff",
    b"/**/",
)


@dataclass
class Findings:
    """What fuzzing found.

    Attributes:
        outcomes: how inputs ended, by name.
        failures: (what went wrong, the input) of each that must not be.
        slowest: the longest processor time of one input, in seconds.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, bytes]] = field(default_factory=list)
    slowest: float = 0.0


class Mutations:
    """Draws mutated requests."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        source = Requests(seed, large=0.003)
        self.requests: list[tuple[Signal, Any]] = []
        while len(self.requests) < 60:
            signal, draw = (Signal.TRACES, source.traces) if self.chance.random() < 0.7 else (Signal.LOGS, source.logs)
            request = draw()
            if 20 < request.ByteSize() < 20_000:
                self.requests.append((signal, request))
        self.bodies = [request.SerializeToString() for _, request in self.requests]
        self.texts = [as_json(request) for _, request in self.requests]

    def protobuf(self) -> tuple[Signal, bytes, type[Any]]:
        """Give a signal, mutated protobuf for it, and protobuf's own class for it."""
        place = self.chance.randrange(len(self.requests))
        body = self.bodies[place]
        for _ in range(self.chance.choice((1, 1, 2, 4))):
            body = self._within(body, 0)
        return self.requests[place][0], body, type(self.requests[place][1])

    def json(self) -> tuple[Signal, bytes]:
        """Give a signal and a mutated JSON text."""
        place = self.chance.randrange(len(self.requests))
        text = self.texts[place]
        for _ in range(self.chance.choice((1, 1, 2, 4))):
            text = self._bytes(text, JSON_TOKENS)
        return self.requests[place][0], text

    def _within(self, body: bytes, depth: int) -> bytes:
        """Mutate somewhere inside a message and repair the lengths around it, or mutate right here."""
        places = list(_delimited(body)) if depth < 12 and self.chance.random() < 0.85 else []
        if not places:
            return self._bytes(body, TOKENS)
        start, content, end = self.chance.choice(places)
        inside = self._within(body[content:end], depth + 1)
        if self.chance.random() < 0.05:
            inside += inside
        return body[:start] + _varint(len(inside)) + inside + body[end:]

    def _bytes(self, body: bytes, tokens: tuple[bytes, ...]) -> bytes:
        chance = self.chance
        place = chance.randrange(len(body) + 1)
        match chance.randrange(7):
            case 0 if body:
                place = min(place, len(body) - 1)
                return body[:place] + bytes((body[place] ^ 1 << chance.randrange(8),)) + body[place + 1 :]
            case 1:
                return body[:place] + chance.randbytes(chance.randrange(1, 9)) + body[place:]
            case 2:
                return body[:place] + body[place + chance.randrange(1, 9) :]
            case 3:
                return body[:place]
            case 4:
                size = chance.randrange(1, 60)
                return body[:place] + body[place : place + size] * chance.randrange(2, 5) + body[place + size :]
            case 5:
                other = chance.choice(self.bodies if tokens is TOKENS else self.texts)
                start = chance.randrange(len(other) + 1)
                return body[:place] + other[start : start + chance.randrange(1, 200)] + body[place:]
            case _:
                token = chance.choice(tokens)
                return body[:place] + token + body[place + chance.choice((0, len(token))) :]


def _varint(value: int) -> bytes:
    encoded = b""
    while value >= 0x80:
        encoded += bytes((value & 0x7F | 0x80,))
        value >>= 7
    return encoded + bytes((value,))


def _read(body: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = body[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _delimited(body: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (where the length starts, where the content starts, where it ends) of the fields that have a length."""
    position = 0
    try:
        while position < len(body):
            key, position = _read(body, position)
            if key & 7 == 2:
                size, content = _read(body, position)
                if content + size > len(body):
                    return
                yield position, content, content + size
                position = content + size
            elif key & 7 == 0:
                position = _read(body, position)[1]
            elif key & 7 in (1, 5):
                position += 8 if key & 7 == 1 else 4
            else:
                return
    except IndexError:
        return


def _items(request: Any) -> int:
    if hasattr(request, "resource_spans"):
        return sum(len(scope.spans) for envelope in request.resource_spans for scope in envelope.scope_spans)
    return sum(len(scope.log_records) for envelope in request.resource_logs for scope in envelope.scope_logs)


def try_one(findings: Findings, body: bytes, decode: Callable[[], Batch], message: type[Any] | None) -> None:
    """Decode one input and note what came of it; `message` is protobuf's class, or None where it cannot judge."""
    started = time.process_time()
    batch: Batch | None = None
    try:
        batch = decode()
        findings.outcomes["rejected some" if batch.rejected else "altered some" if batch.altered else "taken"] += 1
    except InvalidRequestError:
        findings.outcomes["refused"] += 1
    except TracedError as error:
        findings.outcomes[type(error).__name__] += 1
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        findings.failures.append((f"{type(error).__name__}: {error}", body))
        return
    seconds = time.process_time() - started
    findings.slowest = max(findings.slowest, seconds)
    if seconds > SLOW_SECONDS:
        findings.failures.append((f"took {seconds:.1f} s", body))
    if message is not None:
        try:
            expected = _items(message.FromString(body))
        except DecodeError:
            return
        findings.outcomes["read by protobuf"] += 1
        if batch is None or batch.received != expected:
            found = "refused" if batch is None else batch.received
            findings.failures.append((f"protobuf reads {expected} items, the decoder {found}", body))


def fuzz(count: int, seed: int, progress: Callable[[int, Findings], None] = lambda *_: None) -> Findings:
    """Try `count` inputs, one in four of them JSON."""
    mutations, findings = Mutations(seed), Findings()
    for number in range(count):
        if number % 20_000 == 19_999:
            progress(number + 1, findings)
            mutations = Mutations(seed + number)
        if number % 4:
            signal, body, message = mutations.protobuf()
            try_one(findings, body, lambda signal=signal, body=body: DECODERS[signal](body, Limits()), message)  # type: ignore[misc]
        else:
            signal, text = mutations.json()
            try_one(findings, text, lambda signal=signal, text=text: DECODERS[signal](FROM_JSON[signal](text, 50_000)[0], Limits()), None)  # type: ignore[misc]
    return findings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=100_000, help="inputs to try")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    faulthandler.enable()

    def progress(number: int, findings: Findings) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(f"{number} inputs, {len(findings.failures)} failures, slowest {findings.slowest:.2f} s, peak {peak} MiB", file=sys.stderr)

    findings = fuzz(chosen.count, chosen.seed, progress)
    progress(chosen.count, findings)
    print(dict(findings.outcomes))
    for what, body in findings.failures[:20]:
        print(what, body.hex())
    return 1 if findings.failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
