"""Messages: PRODUCER spans, and consumers below them, linked to them, or taking many at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from .blueprint import Blueprint, Delivery, Subscription
from .calling import Run
from .recorder import Context, Draft, Process, Recorder
from .semantics import batch_attributes, message_attributes
from .traces import EPOCH, HAS_IS_REMOTE, IS_REMOTE, MILLISECOND, Kind, Link

_MAX_BATCH = 100
"""Links of one span, below the limit of 128 at which SDKs drop them."""


@dataclass(frozen=True)
class Message:
    """One message: the context it carries, when it was sent (unix nanoseconds), and what tells it from others of its topic."""

    context: Context
    sent: int
    number: int


class Deliveries:
    """Takes messages to their consumers."""

    def __init__(self, blueprint: Blueprint, recorder: Recorder, run: Run) -> None:
        self._recorder, self._run = recorder, run
        self._topics = {t.name: t for t in blueprint.topics}
        self._subscriptions = blueprint.subscriptions
        self._waiting: dict[Subscription, list[Message]] = defaultdict(list)

    def publish(self, process: Process, parent: Context | None, topic: str, at: int) -> int:
        """Send a message and have it consumed; give when the sender goes on."""
        recorder, kind = self._recorder, self._topics[topic]
        own, end = recorder.context(parent), at + recorder.milliseconds(1)
        message = Message(own.sent(), end, (end - EPOCH) // 1000)
        recorder.emit(process, own, parent, (at, end), Draft(f"send {topic}", Kind.PRODUCER, message_attributes(kind, "send", message.number)))
        for subscription in self._subscriptions:
            if subscription.topic != topic:
                continue
            if subscription.delivery in (Delivery.BATCH, Delivery.JOB):
                self._waiting[subscription].append(message)
            else:
                self._consume(subscription, message)
        return end

    def take_batches(self) -> None:
        """Let the consumers that take many at once run, when all messages were sent."""
        for subscription, messages in self._waiting.items():
            messages.sort(key=lambda m: m.sent)
            while messages:
                at = messages[0].sent + round(subscription.period * MILLISECOND * self._recorder.rng.uniform(0.2, 1))
                batch = [m for m in messages[:_MAX_BATCH] if m.sent <= at]
                del messages[: len(batch)]
                take = self._take_as_job if subscription.delivery is Delivery.JOB else self._take_as_batch
                take(subscription, batch, at + self._recorder.network())

    def _consume(self, subscription: Subscription, message: Message) -> None:
        recorder, topic = self._recorder, self._topics[subscription.topic]
        linked = subscription.delivery is Delivery.LINK
        process, parent = recorder.process(subscription.service), None if linked else message.context
        own, at = recorder.context(parent), message.sent + recorder.network() + recorder.milliseconds(subscription.delay)
        end = self._run(process, own, subscription.steps, at + recorder.milliseconds(1))
        attributes = message_attributes(topic, "process", message.number, subscription.group)
        links = _links(process, [message]) if linked else ()
        recorder.emit(process, own, parent, (at, end), Draft(f"process {topic.name}", Kind.CONSUMER, attributes, links=links))

    def _take_as_batch(self, subscription: Subscription, batch: Sequence[Message], at: int) -> None:
        recorder, topic, process = self._recorder, self._topics[subscription.topic], self._recorder.process(subscription.service)
        own = recorder.context(None)
        end = self._run(process, own, subscription.steps, at + recorder.milliseconds(2))
        attributes = batch_attributes(topic, "process", len(batch), subscription.group)
        recorder.emit(process, own, None, (at, end), Draft(f"process {topic.name}", Kind.CONSUMER, attributes, links=_links(process, batch)))

    def _take_as_job(self, subscription: Subscription, batch: Sequence[Message], at: int) -> None:
        """Poll under an INTERNAL root; process each message in a CONSUMER span linked to it."""
        recorder, topic, process = self._recorder, self._topics[subscription.topic], self._recorder.process(subscription.service)
        job, polled = recorder.context(None), at + recorder.milliseconds(5)
        poll = recorder.context(job)
        attributes = batch_attributes(topic, "receive", len(batch), subscription.group)
        recorder.emit(process, poll, job, (at, polled), Draft(f"poll {topic.name}", Kind.CLIENT, attributes, links=_links(process, batch)))
        end = polled
        for message in batch:
            own, start = recorder.context(job), end + recorder.milliseconds(0.2)
            end = self._run(process, own, subscription.steps, start)
            attributes = message_attributes(topic, "process", message.number, subscription.group)
            recorder.emit(process, own, job, (start, end), Draft(f"process {topic.name}", Kind.CONSUMER, attributes, links=_links(process, [message])))
        recorder.emit(process, job, None, (at, end + recorder.milliseconds(1)), Draft(f"settle {topic.name}", Kind.INTERNAL, {}))


def _links(process: Process, messages: Sequence[Message]) -> tuple[Link, ...]:
    bits = HAS_IS_REMOTE | IS_REMOTE if process.resource.flags else 0
    return tuple(Link(m.context.key, bits) for m in messages)
