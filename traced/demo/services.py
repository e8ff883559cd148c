"""What the shop's services do: a function for each, which gives its routes, and the consumers and jobs."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Final

from traced.demo import faults
from traced.demo.http_service import HttpClient, Request, Response, Route
from traced.demo.instrumentation import ServiceTelemetry
from traced.demo.message_queue import Broker, Message
from traced.demo.rollout import READERS, Reader, Rollout, Schema

STATEMENT_SECONDS: Final = 0.001


@dataclass(frozen=True, slots=True)
class Tools:
    """What a service works with."""

    telemetry: ServiceTelemetry
    client: HttpClient
    messages: Broker
    rollout: Rollout

    def query(self, operation: str, collection: str) -> None:
        """Do as if a statement ran: the database stands for one that is not instrumented."""
        with self.telemetry.database_span(operation, collection):
            time.sleep(STATEMENT_SECONDS)

    def publish(self, schema: Schema, body: dict[str, str]) -> None:
        """Send a message that carries the PRODUCER span's context.

        Raises:
            QueueFullError: nobody consumes.
        """
        message_id = str(uuid.uuid4())
        with self.telemetry.producer_span(schema, message_id):
            self.messages.publish(schema.destination, message_id, self.telemetry.inject(), body)


@dataclass(slots=True)
class Schedule:
    """Something that happens once in `every` times, `first` at first."""

    every: int
    first: int
    _times: int = 0
    _guard: Lock = field(default_factory=Lock)

    def is_due(self) -> bool:
        """Count one time and tell whether it is one of them."""
        with self._guard:
            self._times += 1
            return self._times % self.every == self.first % self.every


def web(tools: Tools, *, new: bool = False) -> tuple[Route, ...]:
    """Front door: pages, carts, checkout, refunds; of the new version, if it is that."""
    call = tools.client.call

    def product_page(request: Request) -> Response:
        product = call("catalog", "GET", "/products/{product_id}", request.parameters)
        also = call("recommendation", "GET", "/recommendations/{product_id}", request.parameters)
        cart_id = f"cart-{request.parameters['product_id']}"
        # Planted: the new version's helper makes the same call but sends no context.
        cart = call("cart", "GET", "/carts/{cart_id}", {"cart_id": cart_id}, inject=not new)
        return Response(body={"product": product.body, "also": also.body, "cart": cart.body})

    def add_item(request: Request) -> Response:
        cart = call("cart", "POST", "/carts/{cart_id}/items", {"cart_id": "cart-1"}, body=request.body)
        quote = call("pricing", "POST", "/quotes", body=request.body)
        return Response(201, {"cart": cart.body, "quote": quote.body})

    def checkout(request: Request) -> Response:
        customer = call("customer", "GET", "/customers/{customer_id}", {"customer_id": "7"})
        order = call("order", "POST", "/orders", body=request.body)
        return Response(order.status, {"customer": customer.body, "order": order.body})

    def refund(request: Request) -> Response:
        answer = call("order", "POST", "/orders/{order_id}/refund", request.parameters)
        return Response(answer.status, answer.body)

    return (
        Route("GET", "/products/{product_id}", product_page),
        Route("POST", "/cart/items", add_item),
        Route("POST", "/checkout", checkout),
        Route("POST", "/orders/{order_id}/refund", refund),
    )


def cart(tools: Tools) -> tuple[Route, ...]:
    """Carts in the database."""

    def show(request: Request) -> Response:
        tools.query("SELECT", "carts")
        return Response(body=dict(request.parameters))

    def add(request: Request) -> Response:
        tools.query("INSERT", "cart_items")
        return Response(201, dict(request.parameters))

    return (Route("GET", "/carts/{cart_id}", show), Route("POST", "/carts/{cart_id}/items", add))


def catalog(tools: Tools) -> tuple[Route, ...]:
    """Products; runs on the host whose clock is ahead."""

    def show(request: Request) -> Response:
        tools.query("SELECT", "products")
        return Response(body=dict(request.parameters))

    return (Route("GET", "/products/{product_id}", show),)


def recommendation(_tools: Tools) -> tuple[Route, ...]:
    """What others bought; slow now and then."""
    slow = Schedule(faults.SLOW_CALL_EVERY, faults.SLOW_CALL_FIRST)

    def recommend(_request: Request) -> Response:
        if slow.is_due():
            time.sleep(faults.SLOW_CALL_SECONDS)
        return Response(body={"product_ids": ["1", "2"]})

    return (Route("GET", "/recommendations/{product_id}", recommend),)


def customer(tools: Tools) -> tuple[Route, ...]:
    """Customers in the database; nothing is wrong here."""

    def show(request: Request) -> Response:
        tools.query("SELECT", "customers")
        return Response(body=dict(request.parameters))

    return (Route("GET", "/customers/{customer_id}", show),)


def pricing(tools: Tools) -> tuple[Route, ...]:
    """Prices with tax; its spans are never exported."""

    def quote(_request: Request) -> Response:
        rate = tools.client.call("tax", "GET", "/rates/{country}", {"country": "IS"})
        return Response(body={"price": "9.90", "tax": rate.body})

    return (Route("POST", "/quotes", quote),)


def tax(_tools: Tools) -> tuple[Route, ...]:
    """Tax rates by country; only pricing asks."""

    def rate(request: Request) -> Response:
        return Response(body={"country": request.parameters["country"], "rate": "0.24"})

    return (Route("GET", "/rates/{country}", rate),)


def order(tools: Tools) -> tuple[Route, ...]:
    """Orders: reserves, charges, stores, and tells billing and shipping by message."""

    def place(_request: Request) -> Response:
        order_id = str(uuid.uuid4())
        tools.client.call("inventory", "POST", "/reservations", body={"order_id": order_id})
        tools.client.call("payment", "POST", "/payments", body={"order_id": order_id})
        tools.query("INSERT", "orders")
        for schema in tools.rollout.published():
            tools.publish(schema, {"order_id": order_id})
        return Response(201, {"order_id": order_id})

    def refund(request: Request) -> Response:
        answer = tools.client.call("payment", "POST", "/refunds", body=dict(request.parameters))
        # A refund that failed is left to a person; the customer sees no error.
        return Response(202 if answer.status >= 500 else 200, {"order_id": request.parameters["order_id"]})

    return (Route("POST", "/orders", place), Route("POST", "/orders/{order_id}/refund", refund))


def payment(tools: Tools) -> tuple[Route, ...]:
    """Charges after a look at fraud; refunds always fail."""

    def charge(request: Request) -> Response:
        verdict = tools.client.call("fraud", "POST", "/checks", body=request.body)
        return Response(201, {"verdict": verdict.body})

    def refund(_request: Request) -> Response:
        return Response(500, {"message": "the ledger is closed"})

    return (Route("POST", "/payments", charge), Route("POST", "/refunds", refund))


def fraud(_tools: Tools) -> tuple[Route, ...]:
    """Finds nobody suspicious."""

    def check(_request: Request) -> Response:
        return Response(body={"suspicious": False})

    return (Route("POST", "/checks", check),)


def inventory(_tools: Tools) -> tuple[Route, ...]:
    """Stock and reservations; its spans are exported twice."""

    def reserve(_request: Request) -> Response:
        return Response(201, {"reserved": True})

    def stock(request: Request) -> Response:
        return Response(body={"product_id": request.parameters["product_id"], "stock": 3})

    return (Route("POST", "/reservations", reserve), Route("GET", "/stock/{product_id}", stock))


def billing(tools: Tools, _message: Message) -> None:
    """Write an invoice for an order."""
    tools.query("INSERT", "invoices")


def shipping(tools: Tools, _message: Message) -> None:
    """Write a parcel for an order."""
    tools.query("INSERT", "parcels")


def reports(tools: Tools, _message: Message) -> None:
    """Count an order."""
    tools.query("INSERT", "reports")


def fax(_tools: Tools, _message: Message) -> None:
    """Send an order to those who still have a machine."""


def synchronize_stock(tools: Tools) -> None:
    """Ask inventory, with no span around the call: planted."""
    tools.client.call("inventory", "GET", "/stock/{product_id}", {"product_id": "1"})


def refresh_rates(tools: Tools) -> None:
    """Ask tax below a root span, which as a span of pricing is never exported: planted."""
    with tools.telemetry.internal_span("refresh_rates"):
        tools.client.call("tax", "GET", "/rates/{country}", {"country": "IS"})


@dataclass(frozen=True, slots=True)
class Consumer:
    """A service as consumer group of orders."""

    reader: Reader
    process: Callable[[Tools, Message], None]
    linked: bool = False

    @property
    def service(self) -> str:
        """The service's name."""
        return self.reader.service


@dataclass(frozen=True, slots=True)
class Job:
    """A service's background job, run once in `every` shop requests."""

    service: str
    every: int
    action: Callable[[Tools], None]


ROUTES: Final[Mapping[str, Callable[[Tools], tuple[Route, ...]]]] = {
    "web": web,
    "cart": cart,
    "catalog": catalog,
    "recommendation": recommendation,
    "customer": customer,
    "pricing": pricing,
    "tax": tax,
    "order": order,
    "payment": payment,
    "fraud": fraud,
    "inventory": inventory,
}
_READERS: Final = {reader.service: reader for reader in READERS}
CONSUMERS: Final = (Consumer(_READERS["billing"], billing), Consumer(_READERS["shipping"], shipping, linked=True))
ROLLOUT_CONSUMERS: Final = (Consumer(_READERS["reports"], reports, linked=True), Consumer(_READERS["fax"], fax))
"""Those that are there while the shop migrates its orders."""
JOBS: Final = (
    Job("shipping", faults.STOCK_JOB_EVERY, synchronize_stock),
    Job("pricing", faults.RATES_JOB_EVERY, refresh_rates),
)
SERVICES: Final = tuple(dict.fromkeys([*ROUTES, *(consumer.service for consumer in CONSUMERS), *(job.service for job in JOBS)]))
