"""The shop's parts one by one: queue, HTTP, losing exporter, load, jobs."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from contextlib import closing

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from traced.demo import message_queue
from traced.demo.exporters import BatchLosingExporter
from traced.demo.http_service import MAX_BODY_BYTES, HttpClient, HttpServer, Request, Response, Route, send
from traced.demo.instrumentation import Identity, ServiceTelemetry
from traced.demo.load import ShopRequest, request_mix
from traced.demo.message_queue import Message, MessageQueue, QueueFullError
from traced.demo.rollout import NEW, OLD
from traced.demo.services import Schedule
from traced.demo.workers import BackgroundJob, QueueConsumer, wait_until

GROUPS = {"orders": ("billing", "shipping")}


class TestQueue:
    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "queue.sqlite3"

    def test_every_group_gets_every_message_with_its_headers(self, path):
        with closing(MessageQueue(path, GROUPS)) as messages:
            messages.publish("orders", "m1", {"traceparent": "00-aa"}, {"order_id": "1"})
            for group in GROUPS["orders"]:
                message = messages.receive("orders", group, wait_seconds=0)
                assert message is not None
                assert (message.message_id, message.headers, message.body, message.attempt) == ("m1", {"traceparent": "00-aa"}, {"order_id": "1"}, 1)

    def test_messages_come_in_order(self, path):
        with closing(MessageQueue(path, GROUPS)) as messages:
            for number in range(5):
                messages.publish("orders", f"m{number}", {}, {})
            got = [messages.receive("orders", "billing", wait_seconds=0) for _ in range(5)]
            assert [message.message_id for message in got if message] == [f"m{number}" for number in range(5)]

    def test_an_unacknowledged_message_is_hidden_and_comes_again(self, path, monkeypatch):
        with closing(MessageQueue(path, GROUPS)) as messages:
            messages.publish("orders", "m1", {}, {})
            monkeypatch.setattr(message_queue, "VISIBILITY_SECONDS", 0.05)
            assert messages.receive("orders", "billing", wait_seconds=0)
            assert messages.receive("orders", "billing", wait_seconds=0) is None
            time.sleep(0.06)
            again = messages.receive("orders", "billing", wait_seconds=0)
            assert again is not None
            assert again.attempt == 2

    def test_a_message_that_nobody_can_process_is_given_up_and_counted(self, path, monkeypatch):
        monkeypatch.setattr(message_queue, "VISIBILITY_SECONDS", -1.0)
        with closing(MessageQueue(path, {"orders": ("billing",)})) as messages:
            messages.publish("orders", "m1", {}, {})
            attempts = [messages.receive("orders", "billing", wait_seconds=0) for _ in range(message_queue.MAX_ATTEMPTS + 1)]
            assert attempts[-1] is None
            assert all(attempts[:-1])
            assert (messages.given_up, messages.outstanding) == (1, 0)

    def test_what_is_not_acknowledged_survives_closing(self, path):
        with closing(MessageQueue(path, GROUPS)) as messages:
            messages.publish("orders", "m1", {}, {"order_id": "1"})
            message = messages.receive("orders", "billing", wait_seconds=0)
            assert message is not None
            messages.acknowledge(message)
        with closing(MessageQueue(path, GROUPS)) as messages:
            assert messages.outstanding == 1
            assert messages.receive("orders", "billing", wait_seconds=0) is None
            left = messages.receive("orders", "shipping", wait_seconds=0)
            assert left is not None
            messages.acknowledge(left)
            assert messages.outstanding == 0
            assert messages._connection.execute("SELECT count(*) FROM message").fetchone() == (0,)

    def test_a_full_queue_refuses_and_stores_nothing(self, path, monkeypatch):
        monkeypatch.setattr(message_queue, "MAX_OUTSTANDING", 3)
        with closing(MessageQueue(path, GROUPS)) as messages:
            messages.publish("orders", "m1", {}, {})
            with pytest.raises(QueueFullError):
                messages.publish("orders", "m2", {}, {})
            assert messages.outstanding == 2

    def test_a_waiting_consumer_is_woken_by_a_message(self, path):
        with closing(MessageQueue(path, GROUPS)) as messages:
            publisher = threading.Timer(0.05, messages.publish, ("orders", "m1", {}, {}))
            publisher.start()
            assert messages.receive("orders", "billing", wait_seconds=10)
            publisher.join()


@pytest.fixture
def caller():
    """A service's telemetry, and the exporter that has its spans after `shutdown`."""
    exporter = InMemorySpanExporter()
    return ServiceTelemetry(Identity("caller"), [exporter]), exporter


class TestHttp:
    @pytest.fixture
    def server(self):
        exporter = InMemorySpanExporter()
        telemetry = ServiceTelemetry(Identity("echo"), [exporter])

        def echo(request: Request) -> Response:
            return Response(int(request.body.get("status", 200)), {"parameters": dict(request.parameters)})

        def unreachable(_request: Request) -> Response:
            raise ConnectionRefusedError("nobody there")

        server = HttpServer(telemetry, (Route("POST", "/echo/{word}", echo), Route("GET", "/broken", unreachable)))
        server.start()
        yield server, telemetry, exporter
        server.stop()
        telemetry.shutdown()

    def test_the_server_span_hangs_below_the_client_span(self, server, caller):
        http_server, telemetry, answered = server
        calling, sent = caller
        response = HttpClient(calling, {"echo": http_server.port}).call("echo", "POST", "/echo/{word}", {"word": "hi"})
        assert response == Response(200, {"parameters": {"word": "hi"}})
        calling.shutdown()
        http_server.stop()
        telemetry.shutdown()
        (client,), (answer,) = sent.get_finished_spans(), answered.get_finished_spans()
        assert (client.kind, answer.kind) == (SpanKind.CLIENT, SpanKind.SERVER)
        assert (answer.context.trace_id, answer.parent.span_id, answer.parent.is_remote) == (client.context.trace_id, client.context.span_id, True)
        assert answer.attributes["http.route"] == client.attributes["url.template"] == "/echo/{word}"
        assert answer.attributes["url.path"] == "/echo/hi"
        assert answer.attributes["server.address"] == client.attributes["server.address"] == "echo"
        assert answer.attributes["server.port"] == client.attributes["server.port"] == http_server.port

    def test_without_injected_headers_the_server_span_begins_a_trace(self, server, caller):
        http_server, telemetry, answered = server
        calling, sent = caller
        HttpClient(calling, {"echo": http_server.port}).call("echo", "POST", "/echo/{word}", {"word": "hi"}, inject=False)
        calling.shutdown()
        http_server.stop()
        telemetry.shutdown()
        (client,), (answer,) = sent.get_finished_spans(), answered.get_finished_spans()
        assert answer.parent is None
        assert answer.context.trace_id != client.context.trace_id
        assert client.attributes["http.response.status_code"] == 200

    @pytest.mark.parametrize(("status", "client_fails", "server_fails"), [(200, False, False), (404, True, False), (500, True, True)])
    def test_errors_are_noted_by_the_conventions(self, server, caller, status, client_fails, server_fails):
        http_server, telemetry, answered = server
        calling, sent = caller
        HttpClient(calling, {"echo": http_server.port}).call("echo", "POST", "/echo/{word}", {"word": "hi"}, body={"status": status})
        calling.shutdown()
        http_server.stop()
        telemetry.shutdown()
        for span, fails in ((sent.get_finished_spans()[0], client_fails), (answered.get_finished_spans()[0], server_fails)):
            assert (span.status.status_code is StatusCode.ERROR) == fails
            assert span.attributes.get("error.type") == (str(status) if fails else None)

    def test_a_call_that_nobody_answers_is_an_error_without_status(self, caller):
        calling, sent = caller
        with pytest.raises(ConnectionRefusedError):
            HttpClient(calling, {"echo": 1}).call("echo", "GET", "/")
        calling.shutdown()
        (span,) = sent.get_finished_spans()
        assert span.attributes["error.type"] == "ConnectionRefusedError"
        assert "http.response.status_code" not in span.attributes

    def test_an_unknown_path_is_404(self, server):
        assert send(server[0].port, "GET", "/nowhere").status == 404
        assert send(server[0].port, "GET", "/echo/word").status == 404

    def test_a_service_that_cannot_reach_another_answers_502(self, server):
        assert send(server[0].port, "GET", "/broken").status == 502

    def test_a_body_that_is_too_large_is_413(self, server):
        assert send(server[0].port, "POST", "/echo/a", {"text": "a" * MAX_BODY_BYTES}).status == 413


class TestLosingExporter:
    def test_it_loses_the_first_batch_with_a_whole_call_when_its_turn_has_come(self):
        kept = InMemorySpanExporter()
        losing = BatchLosingExporter(kept, first=2, every=3)
        alone = self._spans(with_call=False)
        whole = self._spans(with_call=True)
        for batch in (whole, alone, whole, whole, whole, whole):
            losing.export(batch)
        assert (losing.exports, losing.lost_batches, losing.lost_spans) == (6, 2, 4)
        assert len(kept.get_finished_spans()) == len([*whole, *alone, *whole, *whole])

    @staticmethod
    def _spans(*, with_call: bool) -> tuple[ReadableSpan, ...]:
        exporter = InMemorySpanExporter()
        telemetry = ServiceTelemetry(Identity("payment"), [exporter])
        with telemetry.server_span("POST", "/payments", "/payments", {}):
            if with_call:
                with telemetry.client_span("POST", "/checks", "/checks", "fraud", 1):
                    pass
        telemetry.shutdown()
        return exporter.get_finished_spans()


class TestWorkers:
    def test_a_consumer_that_fails_leaves_the_message_and_marks_the_span(self, tmp_path, caller, monkeypatch, caplog):
        monkeypatch.setattr(message_queue, "VISIBILITY_SECONDS", 0.01)
        telemetry, exporter = caller
        attempts = []

        def process(message: Message) -> None:
            attempts.append(message.attempt)
            if message.attempt == 1:
                raise ValueError("not today")

        with closing(MessageQueue(tmp_path / "queue", {"orders": ("caller",)})) as messages:
            consumer = QueueConsumer(telemetry, messages, lambda: OLD, process, linked=False)
            consumer.start()
            messages.publish("orders", "m1", {}, {})
            assert wait_until(lambda: messages.outstanding == 0, time.monotonic() + 10)
            consumer.stop()
        telemetry.shutdown()
        assert attempts == [1, 2]
        assert [span.attributes.get("error.type") for span in exporter.get_finished_spans()] == ["ValueError", None]
        assert "could not process" in caplog.text

    def test_a_consumer_that_moves_takes_what_waits_of_the_old_schema_first(self, tmp_path, caller):
        telemetry, exporter = caller
        reads, taken = [OLD], []
        with closing(MessageQueue(tmp_path / "queue")) as messages:
            consumer = QueueConsumer(telemetry, messages, lambda: reads[-1], lambda message: taken.append(message.message_id), linked=False)
            consumer.follow()
            messages.publish(OLD.destination, "before", {}, {})
            reads.append(NEW)
            consumer.follow()
            for number, schema in enumerate((OLD, NEW, OLD, NEW)):
                messages.publish(schema.destination, f"{schema.version}-{number}", {}, {})
            consumer.start()
            assert wait_until(lambda: messages.outstanding == 0, time.monotonic() + 10)
            consumer.stop()
        telemetry.shutdown()
        assert taken == ["before", "2-1", "2-3"]
        assert [span.attributes["message.schema.version"] for span in exporter.get_finished_spans()] == ["1", "2", "2"]
        assert [span.attributes["messaging.destination.name"] for span in exporter.get_finished_spans()] == ["orders", "orders.v2", "orders.v2"]

    def test_a_consumer_that_ends_gets_nothing_more(self, tmp_path, caller):
        telemetry, _ = caller
        reads = [OLD, None]
        with closing(MessageQueue(tmp_path / "queue")) as messages:
            consumer = QueueConsumer(telemetry, messages, lambda: reads.pop(0), lambda _: None, linked=False)
            consumer.follow()
            consumer.follow()
            messages.publish(OLD.destination, "after", {}, {})
            assert messages.outstanding == 0
        telemetry.shutdown()

    def test_a_rare_consumer_takes_all_that_has_come_when_its_time_is_there_or_when_it_is_to_hurry(self, tmp_path, caller):
        telemetry, _ = caller
        with closing(MessageQueue(tmp_path / "queue")) as messages:
            consumer = QueueConsumer(telemetry, messages, lambda: OLD, lambda _: None, linked=False, every_seconds=0.5)
            consumer.start()
            for number in range(3):
                messages.publish(OLD.destination, f"m{number}", {}, {})
            assert messages.outstanding == 3
            assert wait_until(lambda: messages.outstanding == 0, time.monotonic() + 10)
            messages.publish(OLD.destination, "late", {}, {})
            consumer.hurry()
            began = time.monotonic()
            assert wait_until(lambda: messages.outstanding == 0, began + 10)
            consumer.stop()
        telemetry.shutdown()

    def test_a_job_runs_once_in_so_many_requests_even_if_a_run_fails(self, caplog):
        runs = []

        def action() -> None:
            runs.append(1)
            raise RuntimeError("no luck")

        job = BackgroundJob("job", 3, action)
        job.start()
        for _ in range(10):
            job.request_served()
        job.stop()
        assert len(runs) == 3
        assert "no luck" in caplog.text


class TestLoad:
    def test_the_same_seed_gives_the_same_requests_and_another_seed_others(self):
        def first(seed: int) -> list[ShopRequest]:
            return list(itertools.islice(request_mix(seed), 40))

        assert first(7) == first(7) != first(8)

    def test_any_block_of_twenty_holds_every_kind_of_request(self):
        kinds = Counter(request.path.split("/")[1] for request in itertools.islice(request_mix(1), 20))
        assert kinds == {"products": 7, "cart": 5, "checkout": 7, "orders": 1}

    def test_a_schedule_is_due_first_and_then_every_so_often(self):
        schedule = Schedule(every=5, first=2)
        assert [number for number in range(1, 15) if schedule.is_due()] == [2, 7, 12]


def test_a_clock_that_is_ahead_shifts_start_and_end(caller):
    ahead = InMemorySpanExporter()
    catalog = ServiceTelemetry(Identity("catalog", "shop-b", 2.0), [ahead])
    before = time.time_ns()
    with catalog.internal_span("work"):
        pass
    after = time.time_ns()
    catalog.shutdown()
    caller[0].shutdown()
    (span,) = ahead.get_finished_spans()
    assert before + 2_000_000_000 <= span.start_time <= span.end_time <= after + 2_000_000_000
    assert span.resource.attributes["host.name"] == "shop-b"
