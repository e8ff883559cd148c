"""Processes, ids and the spans they emit: the part of a world that knows how an SDK writes a span."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace

from .blueprint import PROXY_SUFFIX, Address, Blueprint, Service
from .semantics import Attributes
from .traces import HAS_IS_REMOTE, IS_REMOTE, MILLISECOND, SAMPLED, Fate, Key, Kind, Link, Resource, Span

_SIGMA = 0.5
"""Spread of lognormal durations: the 99th percentile is 3.2 times the median."""
_NETWORK_MS, _NETWORK_LEAST_MS = 0.25, 0.05


@dataclass(frozen=True)
class Context:
    """A span context as it is handed on; `remote` where it came from another process."""

    key: Key
    remote: bool = False

    def sent(self) -> Context:
        """Give it as the other side gets it."""
        return replace(self, remote=True)


@dataclass(frozen=True)
class Process:
    """One instance of a service."""

    service: Service
    resource: Resource
    ip: str


@dataclass(frozen=True)
class Draft:
    """What is said of a span when it ends, beside ids and times."""

    name: str
    kind: Kind
    attributes: Attributes
    error: bool = False
    responded: bool = True
    links: tuple[Link, ...] = ()


class Recorder:
    """Emits spans; the same seed gives the same."""

    def __init__(self, blueprint: Blueprint, rng: random.Random) -> None:
        self.rng = rng
        self._numbered = blueprint.numbered
        self._requests: dict[str, str] = {}
        self.spans: list[Span] = []
        self.fates: dict[int, Fate] = {}
        self.services = {s.name: s for s in blueprint.services}
        self.processes = {s.name: [self._process(s, n, blueprint.hosts) for n in range(s.instances)] for s in self._all(blueprint)}
        self.services |= {p[0].service.name: p[0].service for p in self.processes.values()}

    def milliseconds(self, median: float) -> int:
        """Draw a duration, in nanoseconds."""
        return round(self.rng.lognormvariate(0, _SIGMA) * median * MILLISECOND)

    def network(self) -> int:
        """Draw the time of one way between two processes, in nanoseconds."""
        return round(_NETWORK_LEAST_MS * MILLISECOND) + self.milliseconds(_NETWORK_MS)

    def process(self, service: str) -> Process:
        """Give one of a service's instances, as a load balancer does."""
        return self.rng.choice(self.processes[service])

    def context(self, parent: Context | None) -> Context:
        """Begin a span: in its parent's trace, or in a new one."""
        trace_id = parent.key[0] if parent else f"{self.rng.getrandbits(128):032x}"
        return Context((trace_id, f"{self.rng.getrandbits(64):016x}"))

    def address(self, service: Service, process: Process) -> str:
        """Give what callers call a service."""
        if service.address is Address.IP:
            return process.ip
        return f"{service.name}.{service.namespace or 'default'}.svc.cluster.local" if service.address is Address.DNS else service.name

    def emit(self, process: Process, own: Context, parent: Context | None, times: tuple[int, int], draft: Draft) -> None:
        """End a span."""
        remote = parent is not None and parent.remote
        span = Span(
            uid=len(self.spans),
            trace_id=own.key[0],
            span_id=own.key[1],
            parent_span_id=parent.key[1] if parent else "",
            name=draft.name,
            kind=draft.kind,
            start=times[0],
            end=max(times),
            resource=process.resource,
            attributes=draft.attributes | self._request(own, draft.kind),
            remote=remote,
            flags=flags(process.resource, remote=remote),
            error=draft.error,
            responded=draft.responded,
            links=draft.links,
        )
        self.spans.append(span)
        if not process.service.reports:
            self.fates[span.uid] = Fate.SILENT

    def _request(self, own: Context, kind: Kind) -> Attributes:
        """Give the id of the request that a span serves, as an application writes it: it says nothing of the trace."""
        if not self._numbered or kind not in (Kind.SERVER, Kind.CLIENT):
            return {}
        return {"request.id": self._requests.setdefault(own.key[0], f"req-{len(self._requests) + 1:06d}")}

    def in_order_of_end(self) -> tuple[tuple[Span, ...], dict[int, Fate]]:
        """Give all spans numbered by their end, and the fates by these numbers."""
        ordered = sorted(self.spans, key=lambda s: (s.end, s.uid))
        fates = {n: self.fates[s.uid] for n, s in enumerate(ordered) if s.uid in self.fates}
        return tuple(replace(s, uid=n) for n, s in enumerate(ordered)), fates

    def _all(self, blueprint: Blueprint) -> Iterable[Service]:
        for service in blueprint.services:
            yield service
            if blueprint.sidecars and service.reports:
                yield replace(service, name=service.name + PROXY_SUFFIX, language="cpp", version="1.31.0", port=15006)

    def _process(self, service: Service, number: int, hosts: int) -> Process:
        rng = self.rng
        pod = f"{service.name}-{rng.getrandbits(32):08x}-{rng.getrandbits(20):05x}"
        host, instance = f"node-{rng.randrange(hosts) + 1}", f"{rng.getrandbits(64):016x}-{number}"
        made: Attributes = {"service.name": service.name, "service.version": service.version, "telemetry.sdk.language": _SDK_NAMES[service.language]}
        made |= {"telemetry.sdk.name": "opentelemetry", "host.name": host, "k8s.pod.name": pod}
        made |= {"service.namespace": service.namespace} if service.namespace else {}
        made |= {"service.instance.id": instance}
        sets_flags = not service.old and service.language != "dotnet"
        resource = Resource(service.name, instance, host, service.language, made, flags=sets_flags)
        return Process(service, resource, f"10.1.{rng.randrange(250)}.{rng.randrange(1, 250)}")


_SDK_NAMES = {"java": "java", "go": "go", "node": "nodejs", "python": "python", "dotnet": "dotnet", "cpp": "cpp", "browser": "webjs"}


def flags(resource: Resource, *, remote: bool) -> int:
    """Give the flags a process's SDK sets: Python's exporter sends the two upper bits alone, old SDKs send none."""
    if not resource.flags:
        return 0
    low = 0 if resource.language == "python" else SAMPLED
    return low | HAS_IS_REMOTE | (IS_REMOTE if remote else 0)
