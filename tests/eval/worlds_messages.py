"""Worlds of messages: fan-out to three topics, and consumers that run now and then."""

from __future__ import annotations

from .blueprint import Blueprint, Call, Delivery, Endpoint, Entry, Local, Publish, Query, Service, Subscription, Topic

_TOPICS = (Topic("orders", "kafka"), Topic("mails", "rabbitmq"), Topic("audit", "aws_sqs"))


def fanout_parent() -> Blueprint:
    """One request publishes to three topics; consumers continue its trace."""
    return _fanout("fanout_parent", Delivery.PARENT)


def fanout_link() -> Blueprint:
    """The same; consumers begin traces of their own, with a link."""
    return _fanout("fanout_link", Delivery.LINK)


def _fanout(name: str, delivery: Delivery) -> Blueprint:
    services = (
        Service("api", "node"),
        Service("order", "java"),
        Service("billing", "python"),
        Service("shipping", "java"),
        Service("mailer", "go"),
        Service("auditor", "java"),
        Service("ledger", "go", port=9090),
    )
    send = (Publish("orders"), Publish("mails", share=0.7), Publish("audit"))
    endpoints = (
        Endpoint("POST /orders", "api", (Call("POST /v1/orders"),)),
        Endpoint("POST /v1/orders", "order", (Query("postgresql", "INSERT order", "orders-db"), *send)),
        Endpoint("ledger.Ledger/Book", "ledger", (Query("postgresql", "INSERT entry", "ledger-db"),)),
    )
    subscriptions = (
        Subscription("orders", "billing", (Local("invoice"), Call("ledger.Ledger/Book")), delivery, "billing"),
        Subscription("orders", "shipping", (Query("postgresql", "INSERT shipment", "shipping-db"),), delivery, "shipping", delay=40.0),
        Subscription("mails", "mailer", (Local("render mail", work=8.0),), delivery),
        Subscription("audit", "auditor", (), delivery, delay=200.0),
    )
    return Blueprint(name, services, endpoints, (Entry(1, "POST /orders"),), _TOPICS, subscriptions, traces=250)


def scheduled() -> Blueprint:
    """Consumers that take many messages at once: a batch listener, and a job that polls; all by links."""
    services = (Service("meter", "go", instances=3), Service("rollup", "java"), Service("invoicing", "python"), Service("tariff", "java", port=9090))
    endpoints = (
        Endpoint("POST /readings", "meter", (Publish("readings"), Publish("usage", share=0.5))),
        Endpoint("tariff.Tariffs/Get", "tariff", (Query("redis", "GET tariff", "redis"),)),
    )
    subscriptions = (
        Subscription("readings", "rollup", (Query("postgresql", "INSERT rollup", "rollup-db", work=6.0),), Delivery.BATCH, "rollup", period=400.0),
        Subscription("usage", "invoicing", (Call("tariff.Tariffs/Get"),), Delivery.JOB, "invoicing", period=600.0),
    )
    topics = (Topic("readings"), Topic("usage", "rabbitmq"))
    return Blueprint("scheduled", services, endpoints, (Entry(1, "POST /readings"),), topics, subscriptions, traces=500, load=0.05)
