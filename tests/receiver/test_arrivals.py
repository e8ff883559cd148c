"""Room for messages that gRPC hands over only when they are whole: who gets how much, who waits, and who is sent back."""

from __future__ import annotations

import socket
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import grpc
import pytest
from receiver_parts import RecordingConsumer, counted, receiving, trace_request

from traced.config import ReceiverSettings
from traced.errors import OverloadedError
from traced.receiver import arrivals
from traced.receiver.admission import WAITING_BEYOND_REQUESTS, Admission
from traced.receiver.connections import Connections, read_peer
from traced.receiver.receiver import Receiver
from traced.telemetry import Telemetry

TRACES = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
MIB = 2**20

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not say what a connection received")


@contextmanager
def channel_to(receiver: Receiver) -> Iterator[grpc.Channel]:
    """Give a connection of its own."""
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(receiver.grpc_address, options) as channel:
        yield channel


def send(channel: grpc.Channel, body: bytes, seconds: float = 20) -> grpc.StatusCode:
    try:
        channel.unary_unary(TRACES, None, None)(body, timeout=seconds)
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


@contextmanager
def silent_calls(receiver: Receiver, count: int) -> Iterator[list[grpc.Future]]:
    """Begin calls, each on a connection of its own, whose message never comes."""
    end = threading.Event()

    def silent() -> Iterator[bytes]:
        end.wait(20)
        yield b""

    with ExitStack() as stack:
        channels = [stack.enter_context(channel_to(receiver)) for _ in range(count)]
        yield [channel.stream_unary(TRACES, None, None).future(silent(), timeout=20) for channel in channels]
        end.set()


def wait_for_refusals(telemetry: Telemetry, reason: str, count: int, seconds: float = 10) -> None:
    """Wait until so many were counted: a sender may see the end of its call before that."""
    until = time.monotonic() + seconds
    while counted(telemetry, "traced_receiver_refused_total", signal="traces", transport="grpc", reason=reason) != count:
        assert time.monotonic() < until
        time.sleep(0.01)


class Sender:
    """Messages and context of a call, as gRPC gives them to a handler; the message comes when it is told to."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.reading = threading.Event()
        self.come = threading.Event()

    def peer(self) -> str:
        return f"ipv4:192.0.2.1:{self.number}"

    def __iter__(self) -> Sender:
        return self

    def __next__(self) -> bytes:
        self.reading.set()
        self.come.wait(20)
        return b"x" * 10


# ---------------------------------------------------------------------- room


def test_of_connections_that_sent_nothing_yet_two_are_read_at_once_the_others_wait_or_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may hold the largest message, and nobody can tell before it is there; once it was small, its connection needs little room."""
    monkeypatch.setattr(arrivals, "ROOM_WAIT_SECONDS", 0.3)
    waiting = arrivals.Arrivals(Admission(128 * MIB, 24), ReceiverSettings())
    senders = [Sender(number) for number in range(6)]
    with ThreadPoolExecutor(6) as threads:
        calls = [threads.submit(waiting.first, sender, sender) for sender in senders]  # type: ignore[arg-type]
        time.sleep(0.1)
        read = [sender for sender in senders if sender.reading.is_set()]
        assert len(read) == 2
        read[0].come.set()
        assert calls[read[0].number].result(5) == b"x" * 10
        time.sleep(0.6)
        assert sum(sender.reading.is_set() for sender in senders) == 3, "who waited got the room that became free"
        assert [type(call.exception()) for call in calls if call.done() and call is not calls[read[0].number]] == [OverloadedError] * 3
        for sender in senders:
            sender.come.set()
        known = [Sender(read[0].number) for _ in range(5)]
        again = [threads.submit(waiting.first, sender, sender) for sender in known]  # type: ignore[arg-type]
        assert all(sender.reading.wait(5) for sender in known)
        for sender in known:
            sender.come.set()
        assert [call.result(5) for call in again] == [b"x" * 10] * 5


def test_room_is_reserved_until_it_is_let_go_and_others_wait_for_it() -> None:
    admission = Admission(100, 10)
    with admission.reserve(lambda: 60, 0), ThreadPoolExecutor(1) as threads:
        with pytest.raises(OverloadedError) as refused, admission.reserve(lambda: 60, 0.05):
            pass
        assert refused.value.reason == "queue_full"
        assert 1 <= refused.value.retry_after_seconds <= 30
        with admission.reserve(lambda: 40, 0) as rest:
            waiting = threads.submit(lambda: admission.reserve(lambda: 30, 10).__enter__())
            time.sleep(0.05)
            assert not waiting.done()
            rest.resize(10)
            assert waiting.result(5).size == 30


def test_reserved_room_refuses_nobody_who_counts_what_really_came() -> None:
    admission = Admission(100, 10)
    with admission.reserve(lambda: 100, 0), admission.slot() as slot:
        slot.hold(90)
        assert admission.bytes_in_flight == 90
        assert admission.is_overfull()


def test_a_message_larger_than_all_room_is_let_in_when_it_is_alone() -> None:
    admission = Admission(100, 10)
    with admission.reserve(lambda: 1000, 0), pytest.raises(OverloadedError), admission.reserve(lambda: 1, 0):
        pass


def test_who_waits_for_room_is_told_at_once_that_traced_shuts_down() -> None:
    admission = Admission(100, 10)
    with admission.reserve(lambda: 100, 0), ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(lambda: admission.reserve(lambda: 1, 60).__enter__())
        time.sleep(0.05)
        admission.close()
        with pytest.raises(OverloadedError) as refused:
            waiting.result(5)
    assert refused.value.reason == "shutting_down"


def test_only_a_few_wait_for_room_so_that_threads_stay_free() -> None:
    admission, most = Admission(100, 3), 3 + WAITING_BEYOND_REQUESTS
    with admission.reserve(lambda: 100, 0) as all_of_it, ThreadPoolExecutor(most) as threads:
        waiting = [threads.submit(lambda: admission.reserve(lambda: 1, 60).__enter__()) for _ in range(most)]
        time.sleep(0.2)
        started = time.monotonic()
        with pytest.raises(OverloadedError):
            admission.reserve(lambda: 1, 60)
        assert time.monotonic() - started < 5
        all_of_it.resize(0)
        assert [one.result(5).size for one in waiting] == [1] * most


def test_a_room_that_was_left_cannot_be_resized() -> None:
    admission = Admission(100, 10)
    with admission.reserve(lambda: 50, 0) as room:
        pass
    room.resize(70)
    with admission.reserve(lambda: 100, 0):
        pass


# ---------------------------------------------------------------------- what the kernel counts


@on_linux
@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_the_kernel_says_how_much_came_on_each_connection_of_the_port(family: socket.AddressFamily, host: str) -> None:
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip("this machine has no such addresses")
    with listener, ExitStack() as stack:
        port = listener.getsockname()[1]
        connections = Connections(port)
        peers = []
        for size in (100_000, 5):
            client = stack.enter_context(socket.create_connection((host, port)))
            accepted = stack.enter_context(listener.accept()[0])
            client.sendall(b"x" * size)
            while len(accepted.recv(2**20, socket.MSG_PEEK)) < size:
                time.sleep(0.01)
            own = client.getsockname()
            peers.append(f"ipv4:{host}:{own[1]}" if family == socket.AF_INET else f"ipv6:%5B{host}%5D:{own[1]}")
        assert list(connections.received(peers).values()) == [100_000, 5]
        accepted.close()
        assert list(connections.received(peers).values()) == [100_000], "one that is gone, whose descriptor may be another's now, is left out"
        assert connections.received(["ipv4:192.0.2.1:5", "unix:", ""]) == {}


def test_a_peer_is_read_as_grpc_writes_it() -> None:
    assert [str(part) for part in read_peer("ipv6:%5Bfe80::1%25eth0%5D:5") or ()] == ["fe80::1", "5"]
    assert [str(part) for part in read_peer("ipv6:%5B::ffff:10.0.0.7%5D:5") or ()] == ["10.0.0.7", "5"]
    assert read_peer("unix:/tmp/socket") is None


# ---------------------------------------------------------------------- calls


@on_linux
def test_new_connections_that_send_nothing_do_not_keep_others_waiting() -> None:
    consumer = RecordingConsumer()
    with receiving(consumer) as receiver, silent_calls(receiver, 20), channel_to(receiver) as channel:
        time.sleep(0.5)
        started = time.monotonic()
        assert send(channel, trace_request().SerializeToString()) is grpc.StatusCode.OK
        assert time.monotonic() - started < 2


class Kernel:
    """Says how much was received, in place of the kernel."""

    def __init__(self) -> None:
        self.count = 1000

    def received(self, peers: list[str]) -> dict[str, int]:
        return dict.fromkeys(peers, self.count)


def test_what_carries_messages_on_a_busy_connection_is_not_taken_for_messages_that_grow() -> None:
    """Some call always waits there, and headers are received beside the messages: over hours that would seem a message of gigabytes."""
    admission, kernel = Admission(128 * MIB, 24), Kernel()
    waiting = arrivals.Arrivals(admission, ReceiverSettings())
    waiting._sockets = kernel  # type: ignore[assignment]
    waiting._learn("ipv4:192.0.2.1:1", 10)
    with ThreadPoolExecutor(2) as threads:
        before = Sender(1)
        call = threads.submit(waiting.first, before, before)  # type: ignore[arg-type]
        assert before.reading.wait(5)
        for _ in range(50):
            after = Sender(1)
            next_call = threads.submit(waiting.first, after, after)  # type: ignore[arg-type]
            assert after.reading.wait(5)
            before.come.set()
            call.result(5)
            kernel.count += 100_000
            waiting._look(time.monotonic() + 0.1)
            before, call = after, next_call
            assert [one.room.size for one in waiting._calls] == [arrivals.LEAST_BYTES]
            assert not admission.is_overfull()
        before.come.set()


def test_many_new_connections_with_small_messages_at_once_are_all_taken() -> None:
    """As when a whole system starts: each waits for the few before it, none is refused."""
    consumer, body = RecordingConsumer(), trace_request().SerializeToString()
    with receiving(consumer) as receiver, ExitStack() as stack, ThreadPoolExecutor(30) as threads:
        channels = [stack.enter_context(channel_to(receiver)) for _ in range(30)]
        for channel in channels:
            grpc.channel_ready_future(channel).result(20)
        assert set(threads.map(lambda channel: send(channel, body), channels)) == {grpc.StatusCode.OK}
    assert consumer.items == 30


def test_the_watch_over_calls_survives_what_nobody_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    telemetry, failures = Telemetry(), [ZeroDivisionError("unexpected")]
    real = Connections.received

    def received(self: Connections, peers: list[str]) -> dict[str, int]:
        if failures:
            raise failures.pop()
        return real(self, peers)

    monkeypatch.setattr(Connections, "received", received)
    with receiving(RecordingConsumer(), telemetry, request_timeout_seconds=0.5) as receiver, silent_calls(receiver, 1) as calls:
        assert calls[0].code() is grpc.StatusCode.CANCELLED
        assert not failures
        assert receiver.ended == ()


def test_a_sender_of_small_messages_never_waits_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two large messages on their way hold all room there is for the unknown; a connection that is known needs little."""
    consumer = RecordingConsumer()
    body = trace_request().SerializeToString()
    with receiving(consumer) as receiver, channel_to(receiver) as known, channel_to(receiver) as unknown, ExitStack() as stack:
        assert send(known, body) is grpc.StatusCode.OK
        # as if two more messages were coming: nobody looks meanwhile
        monkeypatch.setattr(arrivals, "ROOM_WAIT_SECONDS", 0.1)
        rest = 128 * MIB - 2 * MIB
        stack.enter_context(receiver._admission.reserve(lambda: rest, 0))
        with ThreadPoolExecutor(8) as threads:
            assert set(threads.map(lambda _: send(known, body), range(40))) == {grpc.StatusCode.OK}
        assert send(unknown, body) is grpc.StatusCode.UNAVAILABLE


def test_a_refusal_for_want_of_room_is_dated_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "ROOM_WAIT_SECONDS", 0.1)
    telemetry = Telemetry()
    with receiving(RecordingConsumer(), telemetry) as receiver, channel_to(receiver) as channel:
        with receiver._admission.reserve(lambda: 100 * MIB, 0), pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary(TRACES, None, None)(b"", timeout=20)
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "grpc-status-details-bin" in dict(refused.value.trailing_metadata())
    assert counted(telemetry, "traced_receiver_refused_total", signal="traces", transport="grpc", reason="queue_full") == 1


@on_linux
def test_a_known_sender_whose_message_grows_beyond_the_room_is_sent_back() -> None:
    """It sent little before, so little was reserved; what comes is seen while it comes, and the one that came last has to go."""
    telemetry = Telemetry()
    with ExitStack() as stack, ThreadPoolExecutor(2) as threads:
        receiver = stack.enter_context(receiving(RecordingConsumer(), telemetry, max_bytes_in_flight=16 * MIB))
        channels = [stack.enter_context(channel_to(receiver)) for _ in range(2)]
        assert [send(channel, b"") for channel in channels] == [grpc.StatusCode.OK] * 2
        # others hold nearly all there is
        slot = stack.enter_context(receiver._admission.slot())
        slot.hold(15 * MIB)
        codes = set(threads.map(lambda channel: send(channel, bytes(60 * MIB)), channels))
    assert codes <= {grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE}
    wait_for_refusals(telemetry, "queue_full", 2)


def test_a_message_that_never_comes_is_counted_as_a_refusal() -> None:
    telemetry = Telemetry()
    with receiving(RecordingConsumer(), telemetry, request_timeout_seconds=0.2) as receiver, silent_calls(receiver, 2) as calls:
        assert {call.code() for call in calls} == {grpc.StatusCode.CANCELLED}
        wait_for_refusals(telemetry, "body_timeout", 2)


# ---------------------------------------------------------------------- compressed


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_a_compressed_message_is_inflated_within_the_limit_and_one_beyond_it_is_told_and_counted(compression: grpc.Compression) -> None:
    consumer, telemetry = RecordingConsumer(), Telemetry()
    with receiving(consumer, telemetry, max_request_bytes=100_000) as receiver, channel_to(receiver) as channel:
        call = channel.unary_unary(TRACES, None, None)
        assert call(trace_request(300).SerializeToString(), timeout=20, compression=compression) == b""
        with pytest.raises(grpc.RpcError) as refused:
            call(bytes(100_001), timeout=20, compression=compression)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "after decompression" in refused.value.details()
    assert consumer.items == 300
    assert counted(telemetry, "traced_receiver_refused_total", signal="traces", transport="grpc", reason="too_large") == 1


def test_a_message_that_only_looks_compressed_is_read_as_it_is() -> None:
    """A number in a field that OTLP does not know may begin like zlib's format; unknown fields are ignored."""
    unknown_field = bytes((0x78, 0x01))
    assert int.from_bytes(unknown_field, "big") % 31 == 0
    body = unknown_field + trace_request(2).SerializeToString()
    with pytest.raises(zlib.error):
        zlib.decompress(body)
    consumer = RecordingConsumer()
    with receiving(consumer) as receiver, channel_to(receiver) as channel:
        assert send(channel, body) is grpc.StatusCode.OK
    assert consumer.items == 2
