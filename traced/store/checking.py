"""Whether left-over segments open: asked of a child process, because the replay of a damaged WAL can abort its process."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from traced.store.segment import segment_paths

_SECONDS_A_SEGMENT: Final = 60.0


@dataclass(frozen=True, slots=True)
class Looked:
    """What the child said of a segment.

    Attributes:
        number: of the segment.
        last_batch: the last in it, 0 where it holds none; None where it does not open.
        error: why not; empty where it opens.
    """

    number: int
    last_batch: int | None
    error: str = ""


def look_at(directory: Path, numbers: Sequence[int]) -> Iterator[Looked]:
    """Look at segments in their order; while the caller opens one, the child goes on with the next.

    A segment that takes the child down with it, or takes too long, does not open; another child goes on behind it.
    """
    waiting = list(numbers)
    while waiting:
        with _Child([str(segment_paths(directory, number)[0]) for number in waiting]) as child:
            while waiting:
                line = child.read_line()
                yield _looked(waiting.pop(0), line)
                if not line:
                    break


def _looked(number: int, line: bytes) -> Looked:
    try:
        answer = json.loads(line)
    except ValueError:
        return Looked(number, None, "the process that looked at it ended early")
    if "error" in answer:
        return Looked(number, None, str(answer["error"]))
    return Looked(number, int(answer["last_batch"]))


class _Child:
    """The process that looks."""

    def __init__(self, paths: list[str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
            [sys.executable, "-m", "traced.store.segment_check", *paths],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def read_line(self) -> bytes:
        """Give the next answer; nothing where the child has ended, or was killed because it took too long."""
        if self._process.stdout is None:
            return b""
        timer = threading.Timer(_SECONDS_A_SEGMENT, self._process.kill)
        timer.start()
        try:
            return self._process.stdout.readline()
        finally:
            timer.cancel()
            timer.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._process.wait()
