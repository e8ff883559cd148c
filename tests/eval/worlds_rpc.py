"""Worlds of calls: a shop, retries, gateways, a mesh, old SDKs, streams."""

from __future__ import annotations

from .blueprint import Address, Blueprint, Call, Endpoint, Entry, Later, Local, Outside, Query, Retry, Service, Together, Wait

_HOME = "GET /"
_PRODUCT = "GET /product/{id}"
_CHECKOUT = "POST /checkout"
_ITEM = "GET /catalog/{id}"
_STOCK = "GET /stock/{id}"


def shop() -> Blueprint:
    """Six services over HTTP and gRPC, databases and a cache, INTERNAL spans in between, an API of somebody else, work after the answer."""
    services = (
        Service("web", "node", instances=3, namespace="shop"),
        Service("catalog", "java", namespace="shop", address=Address.DNS),
        Service("cart", "go", namespace="shop", port=7070, address=Address.DNS),
        Service("checkout", "python", namespace="shop"),
        Service("payment", "dotnet"),
        Service("shipping", "java", namespace="shop"),
    )
    endpoints = (
        Endpoint(_HOME, "web", (Call("shop.Cart/Get"), Call("GET /catalog"), Local("render"))),
        Endpoint(_PRODUCT, "web", (Together((Call(_ITEM), Call("shop.Cart/Get"))), Call(_STOCK, share=0.6), Local("render"))),
        Endpoint(_CHECKOUT, "web", (Local("validate"), Call("POST /orders"))),
        Endpoint("GET /catalog", "catalog", (Query("redis", "GET catalog", "redis"), Query("postgresql", "SELECT products", "catalog-db"))),
        Endpoint(_ITEM, "catalog", (Local("load item", (Query("postgresql", "SELECT product", "catalog-db"),)),), missing=0.02),
        Endpoint("shop.Cart/Get", "cart", (Query("redis", "HGETALL cart", "redis"),)),
        Endpoint("shop.Cart/Clear", "cart", (Query("redis", "DEL cart", "redis"),), work=1.0),
        Endpoint("POST /orders", "checkout", (_ORDER, Later("write audit log", (Query("postgresql", "INSERT audit", "orders-db"),))), work=6.0, errors=0.01),
        Endpoint("shop.Payment/Charge", "payment", (Local("choose provider", (Outside("api.payments.example"),)),)),
        Endpoint("POST /shipments", "shipping", (Call(_ITEM, share=0.8), Query("postgresql", "INSERT shipment", "shipping-db"))),
        Endpoint(_STOCK, "shipping", (Query("postgresql", "SELECT stock", "shipping-db"),)),
    )
    entries = (Entry(4, _HOME), Entry(3, _PRODUCT), Entry(3, _CHECKOUT))
    return Blueprint("shop", services, endpoints, entries, traces=250)


_ORDER = Local(
    "place order",
    (
        Call("shop.Cart/Get"),
        Call("shop.Payment/Charge"),
        Query("postgresql", "INSERT order", "orders-db"),
        Together((Call("POST /shipments"), Call("shop.Cart/Clear"))),
    ),
)


def streaming() -> Blueprint:
    """Long gRPC streams: children after a while, servers that outlive their clients."""
    services = (
        Service("chat", "go", port=9090),
        Service("feed", "java", port=9090, address=Address.IP),
        Service("ranking", "python", port=9090),
        Service("presence", "go", port=9090, instances=3),
    )
    late_rank = Local("next page", (Call("rank.Ranking/Score"),), work=120.0)
    endpoints = (
        Endpoint("chat.Chat/Join", "chat", (Call("feed.Feed/Watch", stream=True), Call("presence.Presence/Leave"))),
        Endpoint("feed.Feed/Watch", "feed", (Query("redis", "XREAD feed", "redis"), late_rank, late_rank, Local("last page", work=80.0)), work=30.0),
        Endpoint("rank.Ranking/Score", "ranking", (Local("score", work=4.0),)),
        Endpoint("presence.Presence/Leave", "presence", (Query("redis", "SREM online", "redis"),)),
        Endpoint("presence.Presence/Watch", "presence", (Local("beat", work=300.0), Call("rank.Ranking/Score")), work=10.0),
        Endpoint("chat.Chat/Watch", "chat", (Call("presence.Presence/Watch", stream=True),)),
    )
    return Blueprint("streaming", services, endpoints, (Entry(2, "chat.Chat/Join"), Entry(1, "chat.Chat/Watch")), traces=200)


def retries() -> Blueprint:
    """A CLIENT span over several attempts, several CLIENT spans of one call, refused ones and timeouts among them, and nested clients."""
    services = (Service("front", "java"), Service("quote", "go"), Service("rate", "java"), Service("slow", "node"))
    endpoints = (
        Endpoint("GET /quote", "front", (Call("quote.Quotes/Get", retry=Retry.WITHIN), Call("GET /rates", retry=Retry.ACROSS, refused=0.12))),
        Endpoint("GET /report", "front", (Call("GET /slow", timeout=60.0), Call("rate.Rates/Latest", attempt_span=True))),
        Endpoint("quote.Quotes/Get", "quote", (Query("redis", "GET quote", "redis"),), errors=0.15, failure=503),
        Endpoint("GET /rates", "rate", (Query("postgresql", "SELECT rates", "rates-db"),), errors=0.06, failure=500),
        Endpoint("rate.Rates/Latest", "rate", (Local("pick"),)),
        Endpoint("GET /slow", "slow", (Local("think", work=35.0),), work=4.0),
    )
    return Blueprint("retries", services, endpoints, (Entry(3, "GET /quote"), Entry(2, "GET /report")))


def gateway() -> Blueprint:
    """A gateway like nginx, which emits SERVER spans only; its context is the parent of the services' SERVER spans."""
    services = (Service("edge", "cpp", clients=False, instances=3), Service("users", "java"), Service("orders", "go"), Service("accounts", "python"))
    endpoints = (
        Endpoint("GET /users/{id}", "edge", (Call("GET /v1/users/{id}"),), work=0.6),
        Endpoint("POST /orders", "edge", (Call("POST /v1/orders"),), work=0.6),
        Endpoint("GET /v1/users/{id}", "users", (Call("acc.Accounts/Get"), Query("postgresql", "SELECT user", "users-db")), missing=0.03),
        Endpoint(
            "POST /v1/orders", "orders", (Call("acc.Accounts/Get"), Call("GET /v1/users/{id}", share=0.5), Query("postgresql", "INSERT order", "orders-db"))
        ),
        Endpoint("acc.Accounts/Get", "accounts", (Query("redis", "GET account", "redis"),)),
    )
    return Blueprint("gateway", services, endpoints, (Entry(3, "GET /users/{id}"), Entry(2, "POST /orders")))


def forwarder() -> Blueprint:
    """A gateway without instrumentation passes headers through; at times it answers itself, with 503 or from its cache."""
    services = (Service("web", "node"), Service("users", "java"), Service("orders", "go"), Service("stock", "java"))
    via = "edge-proxy"
    endpoints = (
        Endpoint("GET /account", "web", (Call("GET /users/{id}", via=via, bounced=0.04), Call("GET /orders", via=via))),
        Endpoint("GET /offers", "web", (Call("GET /offers/list", via=via, cached=0.5), Call("GET /orders", via=via, share=0.4))),
        Endpoint("GET /users/{id}", "users", (Query("postgresql", "SELECT user", "users-db"),)),
        Endpoint("GET /orders", "orders", (Query("postgresql", "SELECT orders", "orders-db"), Call("stock.Stock/Get", share=0.7))),
        Endpoint("GET /offers/list", "stock", (Query("postgresql", "SELECT offers", "stock-db"),)),
        Endpoint("stock.Stock/Get", "stock", (Query("redis", "GET stock", "redis"),)),
    )
    return Blueprint("forwarder", services, endpoints, (Entry(3, "GET /account"), Entry(2, "GET /offers")))


def mesh() -> Blueprint:
    """Sidecars in every pod add SERVER and CLIENT spans under names of their own."""
    services = (Service("web", "node", namespace="mesh"), Service("cart", "java", namespace="mesh"), Service("stock", "go", namespace="mesh"))
    endpoints = (
        Endpoint("GET /cart", "web", (Call("GET /carts/{id}"), Call("GET /stock/{id}", share=0.5))),
        Endpoint("GET /carts/{id}", "cart", (Query("redis", "GET cart", "redis"), Call("GET /stock/{id}"))),
        Endpoint("GET /stock/{id}", "stock", (Query("postgresql", "SELECT stock", "stock-db"),)),
    )
    return Blueprint("mesh", services, endpoints, (Entry(1, "GET /cart"),), sidecars=True, traces=160)


def numbered() -> Blueprint:
    """Services that emit SERVER spans only, and write the id of the request on them; one of them reports nothing at all."""
    names = (("front", "node"), ("account", "java"), ("search", "java"), ("prices", "go"), ("ranking", "python"), ("audit", "java"))
    services = tuple(Service(name, language, clients=False, reports=name != "audit") for name, language in names)
    endpoints = (
        Endpoint("GET /home", "front", (Together((Call("GET /account/{id}"), Call("GET /search"))), Call("POST /audit", share=0.5))),
        Endpoint("GET /account/{id}", "account", (Call("GET /prices/{id}"), Wait(3.0))),
        Endpoint("GET /search", "search", (Wait(2.0), Call("POST /rank"), Wait(1.0))),
        Endpoint("GET /prices/{id}", "prices", (Wait(2.0),)),
        Endpoint("POST /rank", "ranking", (Wait(2.0),)),
        Endpoint("POST /audit", "audit", (Call("GET /account/{id}"),)),
    )
    return Blueprint("numbered", services, endpoints, (Entry(1, "GET /home"),), numbered=True)


def old() -> Blueprint:
    """SDKs of 2022: no flags, old names of attributes, `peer.service`; one service that is called and never reports."""
    services = (
        Service("portal", "python", old=True),
        Service("booking", "java", old=True),
        Service("pricing", "java", old=True),
        Service("ledger", "java", old=True, reports=False),
    )
    endpoints = (
        Endpoint("POST /book", "portal", (Call("POST /bookings"), Local("render"))),
        Endpoint("GET /price", "portal", (Call("GET /prices/{id}"),)),
        Endpoint(
            "POST /bookings", "booking", (Call("GET /prices/{id}"), Call("ledger.Ledger/Post"), Query("mysql", "INSERT booking", "booking-db")), errors=0.02
        ),
        Endpoint("GET /prices/{id}", "pricing", (Local("rules", (Query("redis", "GET price", "redis"),)),)),
        Endpoint("ledger.Ledger/Post", "ledger"),
    )
    return Blueprint("old", services, endpoints, (Entry(3, "POST /book"), Entry(2, "GET /price")))
