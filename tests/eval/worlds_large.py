"""A world of fifty services in layers, and one of all the ways in which traces rightly begin."""

from __future__ import annotations

import random

from .blueprint import Address, Blueprint, Call, Endpoint, Entry, Local, Outside, Query, Service, Step, Together

_LAYERS, _WIDTH = 5, 10
_LANGUAGES = ("java", "go", "node", "python", "dotnet")
_CALLEES = 2


def fifty() -> Blueprint:
    """Fifty services in five layers: several callers of each, up to three instances, names, DNS names and addresses as peers."""
    rng = random.Random(50)
    services, endpoints = [], []
    for layer in range(_LAYERS):
        for column in range(_WIDTH):
            name = f"{'abcde'[layer]}{column}"
            address = rng.choice((Address.NAME, Address.NAME, Address.DNS, Address.IP))
            services.append(Service(name, rng.choice(_LANGUAGES), instances=rng.randint(1, 3), namespace=rng.choice(("", "core")), address=address))
            endpoints.append(Endpoint(_offer(layer, column), name, _steps(rng, layer), work=rng.uniform(1, 6), errors=rng.choice((0, 0, 0, 0.02))))
    entries = tuple(Entry(rng.uniform(0.5, 2), _offer(0, column)) for column in range(_WIDTH))
    return Blueprint("fifty", tuple(services), tuple(endpoints), entries, hosts=8, traces=220)


def _offer(layer: int, column: int) -> str:
    name = f"{'abcde'[layer]}{column}"
    return f"core.{name.upper()}/Do" if (layer + column) % 3 == 0 else f"GET /{name}/{{id}}"


def _steps(rng: random.Random, layer: int) -> tuple[Step, ...]:
    if layer + 1 == _LAYERS:
        return (Query("postgresql", "SELECT rows", f"db{rng.randrange(5)}"),)
    calls = tuple(Call(_offer(layer + 1, column), share=rng.choice((1.0, 0.7, 0.4))) for column in rng.sample(range(_WIDTH), _CALLEES))
    own: Step = rng.choice((Local("prepare"), Query("redis", "GET key", "redis")))
    return (own, Together(calls)) if rng.random() < 0.4 else (own, *calls)


def entry() -> Blueprint:
    """Health checks, cron jobs, callers from outside, heart-beats, and a browser that sends a context and reports nothing."""
    services = (
        Service("site", "node"),
        Service("account", "java"),
        Service("report", "python"),
        Service("browser", "browser", instances=20, reports=False),
    )
    endpoints = (
        Endpoint("GET /healthz", "site", work=0.2),
        Endpoint("GET /ready", "account", work=0.2),
        Endpoint("GET /basket", "site", (Call("GET /accounts/{id}"), Local("render"))),
        Endpoint("GET /news", "site", (Local("render"),)),
        Endpoint("POST /webhook", "account", (Query("postgresql", "UPDATE account", "account-db"),)),
        Endpoint("GET /accounts/{id}", "account", (Query("postgresql", "SELECT account", "account-db"),)),
    )
    entries = (
        Entry(3, "GET /healthz", agent="kube-probe/1.31"),
        Entry(2, "GET /ready", agent="kube-probe/1.31"),
        Entry(4, service="browser", steps=(Call("GET /basket"),)),
        Entry(3, "GET /news"),
        Entry(2, service="browser", steps=(Call("GET /news"),)),
        Entry(2, "POST /webhook", agent="partner/2.1"),
        Entry(1, service="report", steps=(Local("nightly report", (Call("GET /accounts/{id}"), Query("postgresql", "SELECT totals", "account-db"))),)),
        Entry(1, service="account", steps=(Outside("registry.internal", "PUT", work=3.0),)),
    )
    return Blueprint("entry", services, endpoints, entries, traces=500, outside=frozenset({"browser"}))
