"""A RabbitMQ of the test's own, and the shop's broker on it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel

from traced.demo.message_queue import Message

SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
START_SECONDS = 60.0
ATTEMPTS = 3
_POLL_SECONDS = 0.02


@contextmanager
def rabbitmq(directory: Path) -> Iterator[int]:
    """Start a broker that keeps all it has in a directory, and give its port; the test is skipped where there is none to start."""
    if not SERVER.exists():
        pytest.skip("RabbitMQ is not installed (Debian: rabbitmq-server)")
    for attempt in range(ATTEMPTS):
        # a port that is free may be somebody's a moment later
        place, port = directory / str(attempt), _free_port()
        environment = _environment(place, port)
        with (place / "output").open("w") as output:
            process = subprocess.Popen([SERVER], env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            if _answers(port, process):
                yield port
                return
        finally:
            _end(process, environment)
    pytest.skip(f"RabbitMQ did not start: {(place / 'output').read_text()[-400:]}")


def _environment(place: Path, port: int) -> dict[str, str]:
    place.mkdir(parents=True)
    (place / "rabbitmq.conf").write_text("loopback_users.guest = true\n")
    (place / "enabled_plugins").write_text("[].\n")
    return os.environ | {
        "HOME": str(place),
        "RABBITMQ_NODENAME": f"traced-{port}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(_free_port()),
        "RABBITMQ_MNESIA_BASE": str(place / "data"),
        "RABBITMQ_LOG_BASE": str(place / "log"),
        "RABBITMQ_CONFIG_FILE": str(place / "rabbitmq.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(place / "enabled_plugins"),
        "RABBITMQ_PID_FILE": str(place / "pid"),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(_free_port()),
    }


def _end(process: subprocess.Popen[bytes], environment: dict[str, str]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    # the daemon by which Erlang's nodes find each other outlives them
    subprocess.run(["epmd", "-kill"], env=environment, check=False, capture_output=True)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port)).close()
        except (OSError, pika.exceptions.AMQPError):
            time.sleep(0.3)
        else:
            return True
    return False


class RabbitBroker:
    """The shop's broker on RabbitMQ: a fan-out exchange for each destination, a durable queue for each group; a connection for each thread."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._own = threading.local()
        self._guard = threading.Lock()
        self._connections: list[pika.BlockingConnection] = []
        self._groups: dict[str, set[str]] = {}
        self._outstanding = 0
        self._deliveries = 0
        self._tags: dict[int, int] = {}

    def publish(self, destination: str, message_id: str, headers: Mapping[str, str], body: dict[str, Any]) -> None:
        """Send a message, and wait until the broker has it."""
        channel = self._channel()
        channel.exchange_declare(destination, "fanout", durable=True)
        with self._guard:
            self._outstanding += len(self._groups.get(destination, ()))
        properties = pika.BasicProperties(headers=dict(headers), message_id=message_id, delivery_mode=2)
        channel.basic_publish(destination, "", json.dumps(body).encode(), properties)

    def receive(self, destination: str, group: str, *, wait_seconds: float) -> Message | None:
        """Take a group's next message."""
        channel, queue = self._channel(), f"{group}.{destination}"
        channel.queue_declare(queue, durable=True)
        deadline = time.monotonic() + wait_seconds
        while True:
            method, properties, body = channel.basic_get(queue)
            if method is not None:
                with self._guard:
                    self._deliveries += 1
                    delivery = self._deliveries
                    self._tags[delivery] = method.delivery_tag
                return Message(delivery, properties.message_id, properties.headers or {}, json.loads(body), 2 if method.redelivered else 1)
            if time.monotonic() >= deadline:
                return None
            time.sleep(_POLL_SECONDS)

    def acknowledge(self, message: Message) -> None:
        """Forget a delivery; by the thread that received it."""
        self._channel().basic_ack(self._tags.pop(message.delivery_id))
        with self._guard:
            self._outstanding -= 1

    def subscribe(self, destination: str, group: str) -> None:
        """Bind a group's queue to the destination's exchange."""
        channel, queue = self._channel(), f"{group}.{destination}"
        channel.exchange_declare(destination, "fanout", durable=True)
        channel.queue_declare(queue, durable=True)
        channel.queue_bind(queue, destination)
        with self._guard:
            self._groups.setdefault(destination, set()).add(group)

    def unsubscribe(self, destination: str, group: str) -> None:
        """Unbind a group's queue; what is in it stays."""
        self._channel().queue_unbind(f"{group}.{destination}", destination)
        with self._guard:
            self._groups[destination].discard(group)

    @property
    def outstanding(self) -> int:
        """Deliveries that nobody has acknowledged."""
        with self._guard:
            return self._outstanding

    def close(self) -> None:
        """Close the connections of all threads, which have ended."""
        for connection in self._connections:
            if connection.is_open:
                connection.close()

    def _channel(self) -> BlockingChannel:
        channel: BlockingChannel | None = getattr(self._own, "channel", None)
        if channel is None:
            connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self._port, heartbeat=0))
            with self._guard:
                self._connections.append(connection)
            channel = connection.channel()
            channel.confirm_delivery()
            self._own.channel = channel
        return channel
