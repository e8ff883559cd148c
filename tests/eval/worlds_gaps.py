"""A world in which time passes that no span explains, and much that looks like it."""

from __future__ import annotations

from .blueprint import Blueprint, Call, Delivery, Endpoint, Entry, Later, Local, Publish, Query, Service, Subscription, Together, Topic, Wait


def waiting() -> Blueprint:
    """Handlers wait for locks and pools without a span; beside them jobs that sleep, work after the answer, optional queries, and short pauses."""
    services = (
        Service("desk", "java", instances=3),
        Service("stock", "python"),
        Service("printer", "go"),
        Service("nightly", "python", instances=1),
    )
    endpoints = (
        # a lock, between two children
        Endpoint("POST /orders", "desk", (Query("redis", "GET session", "redis"), Wait(70.0), Call("POST /reservations"), Local("render"))),
        # a pool, before the first child of INTERNAL work
        Endpoint("POST /reservations", "stock", (Local("reserve", (Wait(45.0), Query("postgresql", "UPDATE stock", "stock-db"))),)),
        # spans explain all but a little, or nobody waits for it
        Endpoint("GET /orders", "desk", (Query("postgresql", "SELECT orders", "desk-db", work=60.0), Wait(6.0), Local("render", work=20.0))),
        Endpoint("GET /board", "desk", (Together((Call("GET /levels"), Local("warm up", (Wait(30.0), Query("redis", "GET board", "redis"))))),)),
        Endpoint("GET /levels", "stock", (Query("postgresql", "SELECT levels", "stock-db", work=180.0), Later("log", (Query("redis", "SET seen", "redis"),)))),
        Endpoint("GET /item", "desk", (Query("redis", "GET item", "redis"), Query("postgresql", "SELECT item", "desk-db", work=40.0, share=0.5))),
        Endpoint("POST /labels", "desk", (Publish("labels"),)),
    )
    entries = (
        Entry(4, "POST /orders"),
        Entry(2, "GET /orders"),
        Entry(2, "GET /board"),
        Entry(2, "GET /item"),
        Entry(1, "POST /labels"),
        Entry(1, service="nightly", steps=(Local("close the day", (Call("GET /levels"), Wait(400.0), Query("postgresql", "INSERT day", "stock-db"))),)),
    )
    subscriptions = (Subscription("labels", "printer", (Query("redis", "GET layout", "redis"), Wait(90.0)), Delivery.LINK, "printer"),)
    return Blueprint("waiting", services, endpoints, entries, (Topic("labels"),), subscriptions, traces=400)
