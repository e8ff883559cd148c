"""Calls from one process to another: CLIENT and SERVER spans, attempts, sidecars on the way, and calls that never arrive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .blueprint import PROXY_SUFFIX, Blueprint, Call, Endpoint, Retry, Service, Step
from .recorder import Context, Draft, Process, Recorder
from .semantics import Outcome, Peer, client_attributes, client_name, server_attributes
from .traces import MILLISECOND, Kind

Run = Callable[[Process, Context | None, Sequence[Step], int], int]
"""Runs steps in a process below a span from a time on; gives when they are done."""

GATEWAY_IP = "10.1.255.7"
_EARLY_CLOSE = 0.4
"""How often the caller of a stream closes it while the server goes on."""
_ATTEMPTS = 3


@dataclass(frozen=True)
class Reply:
    """When a request was answered (unix nanoseconds), and how."""

    end: int
    outcome: Outcome

    @property
    def final(self) -> bool:
        """Tell whether a caller would not try again."""
        return self.outcome.status is not None and self.outcome.status < 500


class Calling:
    """Makes calls in one world."""

    def __init__(self, blueprint: Blueprint, recorder: Recorder, run: Run) -> None:
        self._sidecars, self._recorder, self._run = blueprint.sidecars, recorder, run
        self.endpoints = {e.name: e for e in blueprint.endpoints}

    def call(self, caller: Process, context: Context | None, call: Call, at: int) -> int:
        """Call, with a CLIENT span for each attempt; give when the caller goes on."""
        attempts = _ATTEMPTS if call.retry is Retry.ACROSS else 1
        for attempt in range(attempts):
            reply = self._attempt(caller, context, call, at, attempt)
            at = reply.end
            if reply.final or attempt + 1 == attempts:
                break
            at += self._recorder.milliseconds(10)
        return at

    def enter(self, endpoint: Endpoint, at: int, parent: Context | None, peer: Peer, process: Process | None = None) -> Reply:
        """Serve a request in a SERVER span."""
        recorder = self._recorder
        process = process or recorder.process(endpoint.service)
        own = recorder.context(parent)
        after = self._run(process, own, endpoint.steps, at + recorder.milliseconds(endpoint.work * 0.6))
        end, chance = after + recorder.milliseconds(endpoint.work * 0.4), recorder.rng.random()
        status = endpoint.failure if chance < endpoint.errors else 404 if chance < endpoint.errors + endpoint.missing else 200
        outcome = Outcome(status)
        draft = Draft(endpoint.name, Kind.SERVER, server_attributes(endpoint, process.service, peer, outcome), error=status >= 500)
        recorder.emit(process, own, parent, (at, end), draft)
        return Reply(end, outcome)

    def _attempt(self, caller: Process, context: Context | None, call: Call, at: int, resend: int) -> Reply:
        endpoint, recorder = self.endpoints[call.endpoint], self._recorder
        called = recorder.process(endpoint.service)
        if not caller.service.clients:
            return self._through(self._hops(caller, called), endpoint, at + recorder.network(), context and context.sent(), self._peer(caller), called)
        own = recorder.context(context)
        reply = self._unreached(call, at) or self._reached(call, (caller, called), own, at)
        target = called.service
        to = Peer(call.via or recorder.address(target, called), GATEWAY_IP if call.via else called.ip, target.port, name=target.name)
        self._emit_client(caller, (own, context), endpoint, to, (at, reply.end), replace(reply.outcome, resend=resend))
        return reply

    def _unreached(self, call: Call, at: int) -> Reply | None:
        """Give the end of a call that does not get to the service."""
        recorder, chance = self._recorder, self._recorder.rng.random()
        if chance < call.refused:
            return Reply(at + recorder.milliseconds(1), Outcome(None, "connection_refused"))
        if chance < call.refused + call.bounced:
            return Reply(at + recorder.milliseconds(2), Outcome(503))
        return Reply(at + recorder.milliseconds(1), Outcome(200)) if chance < call.refused + call.bounced + call.cached else None

    def _reached(self, call: Call, processes: tuple[Process, Process], own: Context, at: int) -> Reply:
        """Let the service answer, more than once where a retry is below the instrumentation, and see when the caller takes note."""
        (caller, called), endpoint, recorder = processes, self.endpoints[call.endpoint], self._recorder
        sent = recorder.context(own) if call.attempt_span else own
        hops, peer = self._hops(caller, called), self._peer(caller)
        peer = replace(peer, ip=GATEWAY_IP) if call.via else peer
        reply = self._through(hops, endpoint, at + recorder.network(), sent.sent(), peer, called)
        for _ in range(_ATTEMPTS - 1 if call.retry is Retry.WITHIN else 0):
            if reply.final:
                break
            again = reply.end + recorder.milliseconds(10)
            reply = self._through(hops, endpoint, again, sent.sent(), peer, recorder.process(endpoint.service))
        end, outcome = reply.end + recorder.network(), reply.outcome
        if call.timeout and end > at + call.timeout * MILLISECOND:
            end, outcome = at + round(call.timeout * MILLISECOND), Outcome(None, "timeout")
        elif call.stream and recorder.rng.random() < _EARLY_CLOSE:
            end = at + round((end - at) * recorder.rng.uniform(0.3, 0.9))
        if call.attempt_span:
            recorder.emit(caller, sent, own, (at, end), Draft("attempt", Kind.INTERNAL, {}))
        return Reply(end, outcome)

    def _through(self, hops: Sequence[str], endpoint: Endpoint, at: int, parent: Context | None, peer: Peer, called: Process) -> Reply:
        """Pass the sidecars, each with a SERVER and a CLIENT span, and arrive."""
        if not hops:
            return self.enter(endpoint, at, parent, peer, called)
        recorder = self._recorder
        proxy = recorder.process(hops[0])
        entered = recorder.context(parent)
        left, leave = recorder.context(entered), at + recorder.milliseconds(0.2)
        reply = self._through(hops[1:], endpoint, leave + recorder.network(), left.sent(), self._peer(proxy), called)
        back = reply.end + recorder.network()
        to = Peer(called.service.name, called.ip, called.service.port)
        self._emit_client(proxy, (left, entered), endpoint, to, (leave, back), reply.outcome)
        end = back + recorder.milliseconds(0.2)
        attributes = server_attributes(endpoint, proxy.service, peer, reply.outcome)
        recorder.emit(proxy, entered, parent, (at, end), Draft(endpoint.name, Kind.SERVER, attributes, error=(reply.outcome.status or 500) >= 500))
        return Reply(end, reply.outcome)

    def _emit_client(
        self, process: Process, contexts: tuple[Context, Context | None], endpoint: Endpoint, to: Peer, times: tuple[int, int], outcome: Outcome
    ) -> None:
        """End a CLIENT span; contexts are its own and its parent's."""
        name, attributes = client_name(endpoint, process.service), client_attributes(endpoint, process.service, to, outcome)
        draft = Draft(name, Kind.CLIENT, attributes, error=outcome.failed, responded=outcome.status is not None)
        self._recorder.emit(process, contexts[0], contexts[1], times, draft)

    def _hops(self, caller: Process, called: Process) -> list[str]:
        ends: tuple[Service, ...] = (caller.service, called.service) if self._sidecars else ()
        return [service.name + PROXY_SUFFIX for service in ends]

    def _peer(self, process: Process) -> Peer:
        return Peer(process.ip, process.ip, self._recorder.rng.randrange(32_768, 60_999))
