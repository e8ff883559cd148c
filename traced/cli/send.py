"""`traced send`: OTLP files to any OTLP endpoint."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from traced.cli.options import Format, FormatOption
from traced.cli.output import say, write_json, write_lines
from traced.errors import InputUnreadableError

if TYPE_CHECKING:
    from traced.cli.delivery import Delivered
    from traced.model.input import InputRequest

MAX_REPORTS = 20
"""Rejections reported one by one; all are counted."""

PathsArgument = Annotated[list[str], typer.Argument(metavar="PATH", help="OTLP files: .jsonl, .json, .pb, each also as .gz; - is standard input.")]
ToOption = Annotated[str, typer.Option("--to", metavar="HOST:PORT|URL", help="HOST:PORT is OTLP/gRPC without TLS; a URL is OTLP/HTTP.")]


def send(
    paths: PathsArgument,
    *,
    to: ToOption,
    now: Annotated[bool, typer.Option("--now", help="Move all times by one amount, so that the newest span ends now.")] = False,
    rate: Annotated[float | None, typer.Option("--rate", min=0.001, metavar="N", help="Spans and log records a second; as fast as it goes if absent.")] = None,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, max=64, help="Requests under way at once; 1 keeps their order.")] = 4,
    output: FormatOption = Format.TEXT,
) -> None:
    """Send OTLP files to any OTLP endpoint, and come back when it is busy.

    Exit code 1: the endpoint rejected or refused something. 3: a file, or the whole input, could not be read. 4: it does not answer.
    """
    from traced.cli.delivery import Delivery  # noqa: PLC0415 - `traced --help` needs none of these
    from traced.cli.inputs import Inputs  # noqa: PLC0415
    from traced.receiver.client import target_for  # noqa: PLC0415

    with ExitStack() as stack:
        endpoint = target_for(to)
        stack.callback(endpoint.close)
        if now:
            paths = [stack.enter_context(_spooled()) if path == "-" else path for path in paths]
        inputs = Inputs(paths, say)
        requests = _shifted_to_now(paths, inputs) if now else iter(inputs)
        delivery = Delivery(endpoint, _Reports(), concurrency=concurrency, items_per_second=rate)
        started = time.monotonic()
        try:
            delivery.run(requests, stack.enter_context(_progress()))
        finally:
            # Also after an error: what was delivered has been delivered.
            figures = {**delivery.delivered.as_dict(time.monotonic() - started), "unreadable_lines": inputs.unreadable}
            _print(figures, output, failed=sys.exc_info()[0] is not None)
    if inputs.summary():
        say(inputs.summary())
    raise typer.Exit(_exit_code(figures))


def _exit_code(figures: dict[str, Any]) -> int:
    if figures["rejected"] or figures["refused_requests"]:
        return 1
    return 3 if figures["unreadable_lines"] and not figures["requests"] else 0


class _Reports:
    """Says the first few rejections; the figures count all."""

    def __init__(self) -> None:
        self._said = 0

    def __call__(self, sentence: str) -> None:
        """Say one."""
        self._said += 1
        if self._said <= MAX_REPORTS:
            say(sentence)
        elif self._said == MAX_REPORTS + 1:
            say("… further ones are only counted")


def _shifted_to_now(paths: list[str], inputs: Any) -> Iterator[InputRequest]:
    """Read everything once for the newest time, then again and move it; what lies between two spans stays as it was."""
    from traced.cli.inputs import Inputs  # noqa: PLC0415 - see `send`
    from traced.errors import InvalidRequestError  # noqa: PLC0415
    from traced.model.batch import Signal  # noqa: PLC0415
    from traced.model.input import InputRequest as Request  # noqa: PLC0415
    from traced.receiver.rewriting import newest_time, shifted  # noqa: PLC0415

    newest = dict.fromkeys(Signal, 0)
    for request in Inputs(paths, lambda _: None):
        try:
            newest[request.signal] = max(newest[request.signal], newest_time(request.signal, request.body))
        except InvalidRequestError:
            continue  # the second reading says so
    reference = newest[Signal.TRACES] or newest[Signal.LOGS] or newest[Signal.METRICS]
    by_nanoseconds = time.time_ns() - reference if reference else 0
    for request in inputs:
        try:
            body = shifted(request.signal, request.body, by_nanoseconds)
        except InvalidRequestError as error:
            inputs.lose(request.origin, error.message)
            continue
        yield Request(request.signal, body, request.origin)


@contextmanager
def _spooled() -> Iterator[str]:
    """Keep standard input in a temporary file, so that it can be read twice."""
    with tempfile.NamedTemporaryFile(prefix="traced-send-") as file:
        try:
            while chunk := sys.stdin.buffer.read(2**20):
                file.write(chunk)
            file.flush()
        except OSError as error:
            raise InputUnreadableError(
                f"standard input could not be kept for a second reading: {error.strerror}",
                next_safe_actions=("Leave out --now, or give the file by name.",),
            ) from None
        yield file.name


@contextmanager
def _progress() -> Iterator[Callable[[Delivered], None]]:
    """Show a moving line on stderr, if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - a terminal only
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415

    with Progress(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("sending")
        started = time.monotonic()

        def show(delivered: Delivered) -> None:
            seconds = max(time.monotonic() - started, 1e-3)
            bar.update(task, description=f"{delivered.spans:,} spans, {delivered.spans / seconds:,.0f} spans/s, {delivered.retries} retries")

        yield show


def _print(figures: dict[str, Any], output: Format, *, failed: bool) -> None:
    if output is Format.JSON:
        if not failed:  # then the error is the one document on stdout
            write_json(figures)
        return
    said = [f"sent {figures['spans']} spans"]
    if figures["log_records"]:
        said.append(f"{figures['log_records']} log records")
    if figures["metrics"]:
        said.append(f"{figures['metrics']} metrics")
    said.append(f"{figures['seconds']:.3f} s, {figures['spans_per_second']} spans/s, {figures['retries']} retries")
    said += [f"{figures[name]} {name.replace('_', ' ')}" for name in ("rejected", "refused_requests", "unreadable_lines") if figures[name]]
    write_lines([", ".join(said)])
