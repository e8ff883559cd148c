"""The shop's customers: a fixed mix of requests, and a driver that sends them; not instrumented, as browsers often are."""

from __future__ import annotations

import http.client
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

_log = logging.getLogger("traced.demo")

# Per block of twenty; shuffled within the block, so that any twenty requests in a row hold about as many of each.
_BLOCK: Final = (*["product_page"] * 7, *["add_item"] * 5, *["checkout"] * 7, "refund")


@dataclass(frozen=True, slots=True)
class ShopRequest:
    """One request to web."""

    method: str
    path: str
    body: dict[str, Any] = field(default_factory=dict)


def request_mix(seed: int) -> Iterator[ShopRequest]:
    """Give shop requests without end; the same seed gives the same."""
    chance = random.Random(seed)  # noqa: S311 (a repeatable mix, no secret)
    while True:
        block = list(_BLOCK)
        chance.shuffle(block)
        for wish in block:
            product_id = str(chance.randint(1, 50))
            match wish:
                case "product_page":
                    yield ShopRequest("GET", f"/products/{product_id}")
                case "add_item":
                    yield ShopRequest("POST", "/cart/items", {"product_id": product_id})
                case "checkout":
                    yield ShopRequest("POST", "/checkout", {"cart_id": "cart-1"})
                case _:
                    yield ShopRequest("POST", f"/orders/order-{product_id}/refund")


class LoadDriver:
    """A thread that calls something at a steady rate; what it cannot keep up with is left out, not piled up.

    Attributes:
        unanswered: requests that nobody answered.
    """

    def __init__(self, requests_per_second: float, send_one: Callable[[], None]) -> None:
        """Keep the rate and what to call."""
        self._seconds_between = 1.0 / requests_per_second
        self._send_one = send_one
        self.unanswered = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shop-load")

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the request at hand."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stopping.wait(max(0.0, due - time.monotonic())):
            due = max(due + self._seconds_between, time.monotonic())
            try:
                self._send_one()
            except (OSError, http.client.HTTPException) as error:
                self.unanswered += 1
                if self.unanswered == 1:
                    _log.warning("the shop did not answer (further times are not shown): %s", error)
