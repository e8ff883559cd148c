"""Reads OTLP files as a stream of export requests; what cannot be read is reported and counted, and the rest still counts."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import re
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

from traced.errors import InputUnreadableError, TracedError
from traced.model.batch import Signal
from traced.model.input import InputRequest
from traced.receiver.json_requests import all_metrics_from_json, check_nesting, logs_from_json, traces_from_json
from traced.receiver.rewriting import parts, signal_of
from traced.receiver.walking import count_items

MAX_REQUEST_BYTES: Final = 64 * 2**20
"""Longest line, document or message, after decompression."""
MAX_REPORTS: Final = 20
"""Unreadable lines reported one by one; further ones are only counted."""
_SMALLEST_SPAN_BYTES: Final = 28
"""Two ids with their tags and the span's own: a request with more items than the limit is longer than that many of these."""
_READERS: Final = {Signal.TRACES: traces_from_json, Signal.LOGS: logs_from_json, Signal.METRICS: all_metrics_from_json}
_KEYS: Final = {
    Signal.TRACES: ("resourceSpans", "resource_spans"),
    Signal.LOGS: ("resourceLogs", "resource_logs"),
    Signal.METRICS: ("resourceMetrics", "resource_metrics"),
}
_SIGNALS: Final = {key: signal for signal, keys in _KEYS.items() for key in keys}
_FIRST_KEY: Final = re.compile(rb'\s*\{\s*"(resource(?:Spans|_spans|Logs|_logs|Metrics|_metrics))"\s*:')
_GZIP: Final = b"\x1f\x8b"
_OPENING: Final = re.compile(rb'\s*[\[{]\s*("\w+"\s*:\s*[\[{]?\s*[\[{]?)?\s*$')
"""A first line that only opens a document: the file is one document over many lines."""
_DAMAGED: Final = (EOFError, zlib.error, gzip.BadGzipFile)

Report = Callable[[str], None]


class Inputs:
    """The export requests of some files, in order, each read once; memory holds one line at a time.

    Attributes:
        readable: requests given so far.
        unreadable: lines, documents or messages that could not be read.
    """

    def __init__(self, paths: Sequence[str], report: Report, *, max_items: int = 50_000) -> None:
        """Check that every path can be read, before work begins.

        Args:
            paths: files; `-` is standard input.
            report: called with a sentence for each of the first unreadable lines.
            max_items: larger requests are split.

        Raises:
            InputUnreadableError: a path is absent, a directory, or closed to us.
        """
        self.readable = 0
        self.unreadable = 0
        self._readable_here = self._unreadable_here = 0
        self._unread: list[str] = []
        self._paths = list(paths)
        self._report = report
        self._max_items = max_items
        for path in self._paths:
            _check(path)

    def __iter__(self) -> Iterator[InputRequest]:
        """Read the files once."""
        for path in self._paths:
            name = "standard input" if path == "-" else path
            self._readable_here = self._unreadable_here = 0
            with _opened(path) as stream:
                suffix = Path(path.removesuffix(".gz")).suffix.lower()
                if suffix in (".pb", ".binpb"):
                    yield from self._messages(name, stream)
                elif suffix in (".jsonl", ".ndjson"):
                    yield from self._lines(name, stream)
                else:
                    yield from self._document_or_lines(name, stream)
            if self._unreadable_here and not self._readable_here:
                self._unread.append(path)

    @property
    def unread(self) -> tuple[str, ...]:
        """Name the paths that hold something, of which nothing could be read."""
        return tuple(self._unread)

    def undecodable(self, request: InputRequest, error: TracedError) -> None:
        """Take back a request that was given and turned out to be none when it was decoded."""
        self.readable -= 1
        self._readable_here -= 1
        self.lose(request.origin, error.message)

    def summary(self) -> str:
        """Say what was not reported one by one; empty if nothing was."""
        more = self.unreadable - MAX_REPORTS
        return f"… and {more} more that could not be read" if more > 0 else ""

    def lose(self, origin: str, reason: str) -> None:
        """Count, and report if it is one of the first, something that could not be read."""
        self.unreadable += 1
        self._unreadable_here += 1
        if self.unreadable <= MAX_REPORTS:
            self._report(f"{origin}: cannot be read: {reason[:500]}")

    def _lines(self, name: str, stream: BinaryIO, first: bytes | None = None) -> Iterator[InputRequest]:
        lines = self._split(name, stream) if first is None else itertools.chain([(1, first)], self._split(name, stream, 2))
        for number, line in lines:
            if line.strip():
                yield from self._json(f"{name}:{number}", line)

    def _split(self, name: str, stream: BinaryIO, number: int = 1) -> Iterator[tuple[int, bytes]]:
        """Yield (number, line); too long lines are skipped, a damaged end is reported once."""
        for current in itertools.count(number):
            try:
                line = stream.readline(MAX_REQUEST_BYTES + 1)
                if len(line) > MAX_REQUEST_BYTES and not line.endswith(b"\n"):
                    self.lose(f"{name}:{current}", f"the line is longer than {MAX_REQUEST_BYTES} bytes")
                    while line and not line.endswith(b"\n"):
                        line = stream.readline(2**20)
                    continue
            except _DAMAGED as error:
                self.lose(f"{name}:{current}", f"the compressed data is damaged or ends early ({error})")
                return
            if not line:
                return
            yield current, line

    def _document_or_lines(self, name: str, stream: BinaryIO) -> Iterator[InputRequest]:
        """Read one document over many lines, or, where the first line is more than its opening, one request a line."""
        try:
            first = stream.readline(MAX_REQUEST_BYTES + 1).removeprefix(b"\xef\xbb\xbf")
            document = first + stream.read(MAX_REQUEST_BYTES + 1 - len(first)) if _OPENING.match(first) else b""
        except _DAMAGED as error:
            self.lose(name, f"the compressed data is damaged or ends early ({error})")
            return
        if not document:
            yield from self._lines(name, stream, first)
        elif len(document) > MAX_REQUEST_BYTES:
            self.lose(name, f"the document is larger than {MAX_REQUEST_BYTES} bytes; write one export request a line (.jsonl)")
        else:
            yield from self._json(name, document)

    def _json(self, origin: str, text: bytes) -> Iterator[InputRequest]:
        try:
            requests = [(signal, _READERS[signal](part)[0]) for signal, part in _by_signal(text)]
        except (TracedError, ValueError, RecursionError) as error:
            self.lose(origin, error.message if isinstance(error, TracedError) else str(error))
            return
        for signal, body in requests:
            yield from self._give(signal, body, origin)

    def _messages(self, name: str, stream: BinaryIO) -> Iterator[InputRequest]:
        """Read varint-delimited messages; where a length is wrong, nothing after it can be found."""
        for number in itertools.count(1):
            origin = f"{name}: message {number}"
            try:
                body = _delimited(stream)
                if body is None:
                    return
                signal = signal_of(body)
            except (*_DAMAGED, ValueError) as error:
                self.lose(origin, f"{error or 'it ends early'}; what follows cannot be read either")
                return
            except TracedError as error:
                self.lose(origin, error.message)
                continue
            yield from self._give(signal, body, origin)

    def _give(self, signal: Signal, body: bytes, origin: str) -> Iterator[InputRequest]:
        if len(body) > self._max_items * _SMALLEST_SPAN_BYTES and count_items(body, self._max_items)[0] > self._max_items:
            try:
                bodies = list(parts(signal, body, self._max_items))
            except TracedError as error:
                self.lose(origin, error.message)
                return
        else:
            bodies = [body]
        self.readable += 1
        self._readable_here += 1
        for part in bodies:
            yield InputRequest(signal, part, origin)


def _by_signal(text: bytes) -> list[tuple[Signal, bytes]]:
    """Tell which signals a JSON text carries, from its first key where that is enough.

    Raises:
        ValueError: it is not JSON, or no export request of traces, logs or metrics.
    """
    first = _FIRST_KEY.match(text)
    if first is not None:
        signal = _SIGNALS[first[1].decode()]
        if not any(f'"{key}"'.encode() in text for key, other in _SIGNALS.items() if other is not signal):
            return [(signal, text)]
    check_nesting(text)
    document = json.loads(text.decode("utf-8", "replace"))
    if not isinstance(document, dict):
        raise ValueError(f"an OTLP/JSON object is expected, not {type(document).__name__}")  # noqa: TRY004 - a matter of content
    found = [signal for signal, keys in _KEYS.items() if any(key in document for key in keys)]
    if not found and document:
        keys = ", ".join(repr(key[:64]) for key in list(document)[:3])
        raise ValueError(f"none of resourceSpans, resourceLogs and resourceMetrics is there, only {keys}")
    return [(signal, text) for signal in found]


def _delimited(stream: BinaryIO) -> bytes | None:
    """Read one length-prefixed message; None at the end.

    Raises:
        EOFError: the file ends inside it.
        ValueError: its length is over the limit.
    """
    length = shift = 0
    while True:
        byte = stream.read(1)
        if not byte:
            if shift:
                raise EOFError("the file ends inside a length")
            return None
        length |= (byte[0] & 0x7F) << shift
        shift += 7
        if byte[0] < 0x80:
            break
        if shift > 63:
            raise ValueError("the length is not a varint")
    if length > MAX_REQUEST_BYTES:
        raise ValueError(f"its length of {length} bytes is over the limit of {MAX_REQUEST_BYTES}")
    body = stream.read(length)
    if len(body) < length:
        raise EOFError("the file ends inside a message")
    return body


def _check(path: str) -> None:
    if path == "-":
        return
    file = Path(path)
    try:
        if file.is_file():
            file.open("rb").close()
        elif not file.exists():
            raise FileNotFoundError(2, "there is no such file", path)
        elif file.is_dir():
            raise IsADirectoryError(21, "it is a directory", path)
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str, error: Exception) -> InputUnreadableError:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return InputUnreadableError(f"{path} cannot be read: {reason}", next_safe_actions=("Check the path and that the file may be read.",))


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    """Open a file or standard input; gzip is told by its first two bytes, whatever the name says."""
    try:
        raw = sys.stdin.buffer if path == "-" else Path(path).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise _unreadable(path, error) from None
    try:
        buffered = cast("io.BufferedReader", raw)
        if buffered.peek(2)[:2] == _GZIP:
            # Not buffered once more: that would lose what comes just before damaged data.
            with gzip.GzipFile(fileobj=buffered) as unpacked:
                yield cast("BinaryIO", unpacked)
        else:
            yield buffered
    except OSError as error:
        raise _unreadable(path, error) from None
    finally:
        if path != "-":
            raw.close()
