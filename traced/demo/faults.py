"""What is wrong with the shop on purpose, and what `traced` should say of it.

This list is the contract between the shop (which reads the numbers from here), the terminal (which prints it) and the
end-to-end test (which compares findings with it). It needs no OpenTelemetry SDK.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Final

REQUESTS_FOR_ALL_FAULTS: Final = 150
"""After so many shop requests each planted fault is in the data often enough to be told from chance."""

LOST_CONTEXT_EVERY: Final = 20
"""Product pages from one of web's new version to the next; so rare that cart answers well over 80 % of the calls, which makes an unanswered one remarkable."""
LOST_CONTEXT_FIRST: Final = 12
NEW_WEB_VERSION: Final = "2.0.0-canary"

LOST_BATCH_EVERY: Final = 30
"""Exports of payment from one lost batch to the next: at one export a second and a tenth of the spans at most."""
LOST_BATCH_FIRST: Final = 8
LOST_BATCH_SPANS: Final = 8
"""payment's largest export, so that a fast run has many exports too."""

SLOW_CALL_EVERY: Final = 25
SLOW_CALL_FIRST: Final = 10
SLOW_CALL_SECONDS: Final = 0.6

STOCK_JOB_EVERY: Final = 8
"""Shop requests between two runs of shipping's stock job."""
RATES_JOB_EVERY: Final = 10
"""Shop requests between two runs of pricing's job."""

CLOCK_AHEAD_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Claim:
    """A detector's claim about a service.

    Attributes:
        detector: the detector's id.
        service: the service that the finding names.
        peer: the other side; None stands for any or none.
    """

    detector: str
    service: str
    peer: str | None = None

    def covers(self, detector: str, service: str, peer: str) -> bool:
        """Tell whether a finding (its peer may be empty) is an instance of this claim."""
        return self.detector == detector and self.service == service and self.peer in (None, peer)


@dataclass(frozen=True, slots=True)
class Expectation(Claim):
    """A claim that must be made.

    Attributes:
        minimum: the least number of occurrences after REQUESTS_FOR_ALL_FAULTS shop requests.
        cause: that they must name; empty where the detector names none, or nothing in the data tells.
    """

    minimum: int = 1
    cause: str = ""


@dataclass(frozen=True, slots=True)
class PlantedFault:
    """One thing that is wrong on purpose.

    Attributes:
        name: a short name.
        what_is_planted: one sentence for people.
        where: service and code path.
        what_traced_says: one sentence for people.
        expected: claims that must be made.
        not_expected: claims that this fault might tempt a detector into, and must not.
        may_also: claims that are right but depend on timing.
        fix_at: (place, defect) of things to fix, any one of which must be named; empty where nothing is to be.
        failing_edge: (client, server) of the edge that must count errors, if any.
        slow_edge: (client, server) of the edge that must show a call of SLOW_CALL_SECONDS or more, if any.
    """

    name: str
    what_is_planted: str
    where: str
    what_traced_says: str
    expected: tuple[Expectation, ...] = ()
    not_expected: tuple[Claim, ...] = ()
    may_also: tuple[Claim, ...] = ()
    fix_at: tuple[tuple[str, str], ...] = ()
    failing_edge: tuple[str, str] | None = None
    slow_edge: tuple[str, str] | None = None


_LOSES_CONTEXT = PlantedFault(
    name="loses_context",
    what_is_planted=(
        f"one product page in {LOST_CONTEXT_EVERY} is served by a new version of web, {NEW_WEB_VERSION}, which asks for the cart through an HTTP helper "
        "that sends no traceparent header"
    ),
    where="web, version " + NEW_WEB_VERSION + ", GET /products/{product_id} → cart, GET /carts/{cart_id}",
    what_traced_says=(
        "broken_propagation: web does not pass its context to cart, where its version is the new one; each SERVER span that began a trace of its own is named "
        "with its caller"
    ),
    expected=(Expectation("broken_propagation", "cart", "web", minimum=2, cause="not_injected"),),
    not_expected=(
        Claim("missing_server_span", "web", "cart"),
        Claim("orphan_span", "cart"),
        Claim("missing_root_span", "cart"),
        Claim("missing_root_span", "web"),
    ),
    fix_at=(("web → cart", "loses_context"),),
)
_REPORTS_NOTHING = PlantedFault(
    name="reports_nothing",
    what_is_planted="pricing creates spans and passes their context on to tax, but no exporter was ever connected",
    where="pricing, all of it",
    what_traced_says=(
        "orphan_span: the parents of tax's SERVER spans are absent, and were in another process; silent_service: pricing answers web and sends no spans, "
        "which explains both"
    ),
    expected=(Expectation("orphan_span", "tax", minimum=20, cause="upstream_silent"),),
    not_expected=(Claim("missing_server_span", "web", "pricing"), Claim("missing_root_span", "web"), Claim("orphan_span", "web")),
    # it takes 30 calls, and customers do not always make as many
    may_also=(Claim("silent_service", "pricing", "web"),),
    fix_at=(("pricing", "reports_nothing"), ("what calls tax", "reports_nothing")),
)
_ROOT_REPORTS_NOTHING = PlantedFault(
    name="root_reports_nothing",
    what_is_planted=f"pricing refreshes its tax rates by a job of its own (once in {RATES_JOB_EVERY} shop requests), whose root span is never exported",
    where="pricing, job refresh_rates → tax, GET /rates/{country}",
    what_traced_says="missing_root_span: a trace of which only tax's orphan is there",
    expected=(Expectation("missing_root_span", "tax", minimum=5, cause="upstream_silent"),),
    not_expected=(Claim("root_client_span", "tax"), Claim("root_client_span", "pricing")),
    fix_at=(("pricing", "reports_nothing"), ("what calls tax", "reports_nothing")),
)
_LOST_BATCH = PlantedFault(
    name="lost_batch",
    what_is_planted=f"payment's exporter loses a whole batch now and then (about one in {LOST_BATCH_EVERY}) and reports success",
    where="payment's exporter; payment → fraud is the call below",
    what_traced_says="orphan_span: parents of fraud's SERVER spans are absent; missing_server_span: order called payment and no SERVER span hangs below",
    expected=(
        Expectation("orphan_span", "fraud", "payment", cause="upstream_loss"),
        Expectation("missing_server_span", "order", "payment", cause="callee_loss"),
    ),
    not_expected=(Claim("missing_root_span", "fraud"), Claim("missing_root_span", "payment"), Claim("missing_server_span", "payment", "fraud")),
    # A request that straddles two batches loses only its SERVER span: then payment's own CLIENT span is an orphan.
    may_also=(Claim("orphan_span", "payment"),),
    fix_at=(("payment", "loses_spans"),),
)
_SLOW_CALL = PlantedFault(
    name="slow_call",
    what_is_planted=f"one call in {SLOW_CALL_EVERY} takes {SLOW_CALL_SECONDS} s longer",
    where="recommendation, GET /recommendations/{product_id}",
    what_traced_says="nothing is missing; the edge web → recommendation shows the latency",
    not_expected=(Claim("missing_server_span", "web", "recommendation"), Claim("orphan_span", "recommendation")),
    slow_edge=("web", "recommendation"),
)
_FAILING_CALL = PlantedFault(
    name="failing_call",
    what_is_planted="every refund is answered with 500",
    where="order, POST /orders/{order_id}/refund → payment, POST /refunds",
    what_traced_says="nothing is missing; the edge order → payment counts the errors",
    not_expected=(Claim("root_client_span", "order"), Claim("orphan_span", "order")),
    failing_edge=("order", "payment"),
)
_EXPORTED_TWICE = PlantedFault(
    name="exported_twice",
    what_is_planted="inventory was moved from OTLP/HTTP to OTLP/gRPC, and the old exporter was left in place",
    where="inventory's two span processors",
    what_traced_says="duplicate_span: each of inventory's spans arrives twice with the same content; calls are counted once all the same",
    expected=(Expectation("duplicate_span", "inventory", minimum=20),),
    not_expected=(Claim("conflicting_span", "inventory"), Claim("orphan_span", "inventory")),
    fix_at=(("inventory", "exports_twice"),),
)
_JOB_WITHOUT_SPAN = PlantedFault(
    name="job_without_span",
    what_is_planted=f"a background job (once in {STOCK_JOB_EVERY} shop requests) calls inventory with no span of its own around the call",
    where="shipping, job synchronize_stock → inventory, GET /stock/{product_id}",
    what_traced_says="root_client_span: a trace begins with shipping's CLIENT span to inventory",
    expected=(Expectation("root_client_span", "shipping", minimum=5),),
    not_expected=(Claim("missing_root_span", "shipping"), Claim("missing_server_span", "shipping", "inventory")),
    fix_at=(("shipping", "works_outside_traces"),),
)
_CLOCK_AHEAD = PlantedFault(
    name="clock_ahead",
    what_is_planted=f"catalog runs on a host of its own, whose clock is {CLOCK_AHEAD_SECONDS:g} s ahead",
    where="catalog, host shop-b",
    what_traced_says="clock_skew: shop-b against shop-a, about 2 s; times are shown as they came",
    expected=(Expectation("clock_skew", "catalog"),),
    not_expected=(Claim("missing_server_span", "web", "catalog"), Claim("orphan_span", "catalog")),
    fix_at=(("shop-a and shop-b", "clocks_differ"),),
)


def planted_faults() -> tuple[PlantedFault, ...]:
    """Give every fault that the shop has on purpose; there is no other."""
    return (
        _LOSES_CONTEXT,
        _REPORTS_NOTHING,
        _ROOT_REPORTS_NOTHING,
        _LOST_BATCH,
        _SLOW_CALL,
        _FAILING_CALL,
        _EXPORTED_TWICE,
        _JOB_WITHOUT_SPAN,
        _CLOCK_AHEAD,
    )


def planted_faults_text(width: int = 100) -> str:
    """Render the list for a terminal: what is planted, where, and what `traced` should say.

    Args:
        width: columns to wrap at.
    """
    blocks = []
    for number, fault in enumerate(planted_faults(), start=1):
        rows = (("planted", fault.what_is_planted), ("where", fault.where), ("traced says", fault.what_traced_says))
        lines = [
            textwrap.fill(text, width, initial_indent=f"   {label:<12}", subsequent_indent=" " * 15, break_long_words=False, break_on_hyphens=False)
            for label, text in rows
        ]
        blocks.append("\n".join([f"{number}. {fault.name}", *lines]))
    return "\n\n".join(blocks) + "\n"
