"""Plays a blueprint: requests come in, services do their steps, and spans are recorded."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from .blueprint import Blueprint, Call, Entry, Later, Local, Outside, Publish, Query, Step, Together, Wait
from .calling import Calling
from .deliveries import Deliveries
from .kinship import Kinship
from .recorder import Context, Draft, Process, Recorder
from .semantics import Attributes, Peer, outside_attributes, query_attributes
from .traces import EPOCH, MILLISECOND, Kind, TraceSet

_PILOT_TRACES = 40
_PILOT_GAP_MS = 10_000.0


def play(blueprint: Blueprint, seed: str) -> TraceSet:
    """Play a world at its load, which a pilot of few requests measures; the same seed gives the same spans."""
    pilot = Simulation(blueprint, random.Random(f"{seed} pilot"))
    pilot.run(_PILOT_TRACES, _PILOT_GAP_MS)
    simulation = Simulation(blueprint, random.Random(seed))
    simulation.run(blueprint.traces, _busy_milliseconds(pilot.result()) / _PILOT_TRACES / blueprint.load)
    return simulation.result()


def load(played: TraceSet) -> float:
    """Give how many calls were under way at once on an edge, the mean over time and edges."""
    roots = [s.start for s in played.spans if not s.parent_span_id]
    return _busy_milliseconds(played) / ((max(roots) - min(roots)) / MILLISECOND)


def _busy_milliseconds(played: TraceSet) -> float:
    """Give the time that calls took on an edge in all, the mean over edges."""
    kin, busy = Kinship(played), defaultdict[tuple[str, str], int](int)
    for receiver, sender in kin.caller.items():
        if played.spans[receiver].kind is Kind.SERVER:
            busy[played.spans[sender].service, played.spans[receiver].service] += played.spans[receiver].end - played.spans[receiver].start
    return sum(busy.values()) / max(1, len(busy)) / MILLISECOND


class Simulation:
    """One run of a world."""

    def __init__(self, blueprint: Blueprint, rng: random.Random) -> None:
        self._blueprint, self._recorder, self._rng = blueprint, Recorder(blueprint, rng), rng
        self._calling = Calling(blueprint, self._recorder, self._run)
        self._deliveries = Deliveries(blueprint, self._recorder, self._run)

    def run(self, traces: int, gap: float) -> None:
        """Let requests come in, on average every `gap` milliseconds."""
        at = float(EPOCH)
        for _ in range(traces):
            at += self._rng.expovariate(1) * gap * MILLISECOND
            entry = self._rng.choices(self._blueprint.entries, [e.weight for e in self._blueprint.entries])[0]
            self._begin(entry, round(at))
        self._deliveries.take_batches()

    def result(self) -> TraceSet:
        """Give what was recorded."""
        spans, fates = self._recorder.in_order_of_end()
        return TraceSet(self._blueprint.name, spans, fates, self._blueprint.outside)

    def _begin(self, entry: Entry, at: int) -> None:
        if entry.endpoint:
            asking = f"203.0.{self._rng.randrange(1, 250)}.{self._rng.randrange(1, 250)}"
            self._calling.enter(self._calling.endpoints[entry.endpoint], at, None, Peer(asking, asking, 443, entry.agent))
        else:
            self._run(self._recorder.process(entry.service), None, entry.steps, at)

    def _run(self, process: Process, context: Context | None, steps: Sequence[Step], at: int) -> int:
        for step in steps:
            if isinstance(step, Call | Query | Publish) and self._rng.random() >= step.share:
                continue
            at = self._step(process, context, step, at)
        return at

    def _step(self, process: Process, context: Context | None, step: Step, at: int) -> int:
        match step:
            case Call():
                return self._calling.call(process, context, step, at)
            case Publish():
                return self._deliveries.publish(process, context, step.topic, at)
            case Query():
                name = f"{step.statement.split(' ', maxsplit=1)[0]} {step.address}"
                return self._lone_client(process, context, name, query_attributes(step, old=process.service.old), (at, step.work))
            case Outside():
                return self._lone_client(process, context, step.method, outside_attributes(step.host, step.method), (at, step.work))
            case Together():
                return max(self._run(process, context, (part,), at) for part in step.steps)
            case Wait():
                return at + self._recorder.milliseconds(step.work)
            case Local():
                return self._local(process, context, step.name, (Wait(step.work), *step.steps), at)
            case Later():
                self._local(process, context, step.name, (Wait(step.after), *step.steps), at)
                return at

    def _local(self, process: Process, context: Context | None, name: str, steps: Sequence[Step], at: int) -> int:
        own = self._recorder.context(context)
        end = self._run(process, own, steps, at)
        self._recorder.emit(process, own, context, (at, end), Draft(name, Kind.INTERNAL, {}))
        return end

    def _lone_client(self, process: Process, context: Context | None, name: str, attributes: Attributes, timing: tuple[int, float]) -> int:
        """Record a call of something that emits no spans; timing is when it begins and how long it takes in ms."""
        own, end = self._recorder.context(context), timing[0] + self._recorder.milliseconds(timing[1])
        self._recorder.emit(process, own, context, (timing[0], end), Draft(name, Kind.CLIENT, attributes))
        return end
