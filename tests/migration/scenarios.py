"""The scenarios: a few flows, and the verdict with all its reasons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from flow_lines import DAY, LISTENED, NOW

from traced.model.capture import Capture, Gap, GapReason, Interval
from traced.model.migration import Gate

SAFE, NOT_SAFE, UNKNOWN = "SAFE", "NOT_SAFE", "NOT_ENOUGH_EVIDENCE"


@dataclass(frozen=True)
class Scenario:
    """What was seen and configured, and what follows.

    Attributes:
        reasons: all codes that are not met.
        settings: over those of `shape`.
        says: words that the details hold.
    """

    lines: tuple[str, ...]
    verdict: str
    reasons: frozenset[str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    shape: str = "two_destinations"
    gate: Gate = Gate.STOP_PUBLISH
    capture: Capture = LISTENED
    without: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    others: tuple[dict[str, Any], ...] = ()
    says: tuple[str, ...] = ()


TWO = {"name": "m", "old": {"destination": "orders.v1"}, "new": {"destination": "orders.v2"}, "consumers": ["billing", "shipping"]}
MESSAGES = {
    "name": "m",
    "shape": "two_messages",
    "old": {"destination": "orders", "version": "1"},
    "new": {"destination": "orders", "version": "2"},
    "consumers": ["billing", "shipping"],
}
SETTINGS: dict[str, dict[str, Any]] = {
    "two_destinations": TWO,
    "two_messages": MESSAGES,
    "one_message": MESSAGES | {"shape": "one_message"},
    "route": TWO | {"old": {"route": "/v1/orders"}, "new": {"route": "/v2/orders"}},
}

PUBLISHED = ("order sends orders.v1 x450", "order sends orders.v2 x450")
MOVED = (*PUBLISHED, "billing takes orders.v2 x450", "shipping takes orders.v2 x450")
SENT_BOTH = ("order sends orders#1 x450", "order sends orders#2 x450")
HANDLED = (
    *SENT_BOTH,
    *(f"{who} takes orders#{version} x450 {what}" for who in ("billing", "shipping") for version, what in (("1", "ignored"), ("2", "handled"))),
)
FILTERED = (*SENT_BOTH, "billing takes orders#2 x450", "shipping takes orders#2 x450")
RECORDED = ("order sends orders x450", "billing takes orders#2 x450", "shipping takes orders#2 x450")

CALLED = tuple(f"{who} takes api from=/v2/orders source=route x450" for who in ("billing", "shipping"))
CALLED_LONG = tuple(f"{line} -30d..-0d".replace("x450", "x900") for line in CALLED)


def at(before_days: float) -> str:
    """Give a time as the configuration file has it."""
    return datetime.fromtimestamp(NOW - before_days * DAY, UTC).isoformat()


CUT = {"cutoff": at(8)}
ATTESTED = [{"kind": kind, "at": at(1), "by": "ana"} for kind in ("retention_elapsed", "dead_letters_empty", "stores_checked")]
ENDED = (
    "order sends orders.v1 x800 -30d..-8d",
    "order sends orders.v2 x450",
    "billing takes orders.v2 x900 -30d..-0d",
    "shipping takes orders.v2 x900 -30d..-0d",
)
REMOVED = CUT | {"attestations": ATTESTED}


def heard(days: float) -> Capture:
    """Listen for so many days up to now."""
    return Capture((Interval(NOW - days * DAY, float(NOW)),))


def gap(reason: GapReason, before_days: float = 3, seconds: float = 30, items: int = 0) -> Capture:
    """Listen all the time but for one gap."""
    since = NOW - before_days * DAY
    return Capture(LISTENED.intervals, (Gap(since, since + seconds, reason, items),))


def safe(lines: tuple[str, ...], **given: Any) -> Scenario:
    """Nothing speaks against it."""
    return Scenario(lines, SAFE, frozenset(), **given)


def no(reasons: str, lines: tuple[str, ...], **given: Any) -> Scenario:
    """Give a scenario that is not safe."""
    return Scenario(lines, NOT_SAFE, frozenset(reasons.split()), **given)


def open_(reasons: str, lines: tuple[str, ...], **given: Any) -> Scenario:
    """Give a scenario of which too little is known."""
    return Scenario(lines, UNKNOWN, frozenset(reasons.split()), **given)


def settings(**given: Any) -> dict[str, Any]:
    """Give settings over those of the shape."""
    return {"settings": given}


REMOVE: dict[str, Any] = {"gate": Gate.REMOVE_SCHEMA, "settings": REMOVED}
EVERYTHING = "consumer_not_seen old_not_offered service_silent"

SCENARIOS: dict[str, Scenario] = {
    # ------------------------------------------------------------------ safe
    "all moved": safe(MOVED),
    "all filtered: old messages do not reach them": safe(FILTERED, shape="two_messages"),
    "all say that they ignore the old": safe(HANDLED, shape="two_messages"),
    "all record that they use the new fields": safe(RECORDED, shape="one_message"),
    "callers of a route": safe(
        (
            "api sends api from=/v2/orders source=route x450",
            "billing takes api from=/v2/orders source=route x450",
            "shipping takes api from=/v2/orders source=route x450",
        ),
        shape="route",
    ),
    "old use before the window": safe((*MOVED, "billing takes orders.v1 x50 -20d..-15d")),
    "a relay still copies the old": safe(
        (*MOVED, "mirror takes orders.v1 x50"), **settings(consumers=["billing", "shipping", {"service": "mirror", "role": "relay"}])
    ),
    "excluded test traffic": safe(
        (*MOVED, "loadgen takes orders.v1 x50"), **settings(consumers=["billing", "shipping", {"service": "loadgen", "excluded": "tests"}])
    ),
    "decommissioned and gone": safe(MOVED, **settings(consumers=["billing", "shipping", {"service": "fax", "decommissioned": {"by": "ana", "at": at(30)}}])),
    "tombstones have no version": safe((*FILTERED, "billing takes orders x30 tombstone source="), shape="two_messages"),
    "a weekly consumer, all kept": safe(
        (*PUBLISHED, "billing takes orders.v2 x450", "close takes orders.v2 x2 -13d..-0d"),
        **settings(consumers=["billing", {"service": "close", "longest_period": "7d"}]),
    ),
    "sampled, and the probability declared": safe(
        ("order sends orders.v1 x450 p=?", "billing takes orders.v2 x450 p=?"),
        **settings(consumers=["billing"], sampling={"billing": 0.1}, longest_period="1h"),
    ),
    "a short gap is tolerated": safe(MOVED, capture=gap(GapReason.STOPPED), **settings(tolerated_gap="5m")),
    "another environment does not matter": safe(
        (*tuple(f"{line} env=production" for line in MOVED), "billing takes orders.v1 x9 env=staging"), **settings(environment="production")
    ),
    "two migrations on one destination": safe(
        (*FILTERED, "billing takes orders#3 x20"),
        shape="two_messages",
        others=({"name": "next", "shape": "two_messages", "old": {"destination": "orders", "version": "2"}, "new": {"version": "3"}},),
    ),
    "other subjects on the topic": safe(
        (*FILTERED, "billing takes orders#cancelled.v7 x20"), shape="two_messages", **settings(other_versions=["cancelled.v7"])
    ),
    "versions as numbers and spellings": safe(
        (
            "order sends orders#v1 x450",
            "order sends orders#2.0 x450",
            "billing takes orders#2 x200",
            "billing takes orders#2.0 x450",
            "shipping takes orders#v2 x450",
        ),
        shape="two_messages",
        **settings(old={"destination": "orders", "version": [1, "v1"]}, new={"version": [2, "v2", "2.0"]}),
    ),
    "one service that publishes and consumes": safe((*PUBLISHED, "order takes orders.v2 x450"), **settings(consumers=["order"])),
    "the producer's clock is a day off": safe(MOVED),
    "removed, with everything attested": safe(ENDED, **REMOVE),
    "a queue behind a topic": safe((*PUBLISHED, "billing takes billing-q from=orders.v2 x450", "shipping takes orders.v2 x450")),
    "a destination with newlines and quotes": safe(
        tuple(f"{who} 'or\n\"ders{version}' x450" for who, version in (("order sends", ".v1"), ("order sends", ".v2"), ("billing takes", ".v2"))),
        **settings(old={"destination": 'or\n"ders.v1'}, new={"destination": 'or\n"ders.v2'}, consumers=["billing"]),
    ),
    # ------------------------------------------------------------------ the old is used
    "one old use": no("old_use_seen", (*MOVED, "billing takes orders.v1"), says=("billing used the old schema: 1 message",)),
    "one old use in an hour of sampled traffic": no(
        "old_use_seen", (*MOVED, "billing takes orders.v1 p=0.01"), **settings(max_unseen_share=0.1, longest_period="1h")
    ),
    "a use that failed is a use": no("old_use_seen", (*MOVED, "billing takes orders.v1 error")),
    "an unlisted consumer of the old": no("old_use_seen inventory_incomplete", (*MOVED, "ghost takes orders.v1"), says=("ghost, which is not on the list",)),
    "nobody moved": no("old_use_seen consumer_not_seen", (*PUBLISHED, "billing takes orders.v1 x450", "shipping takes orders.v2 x450")),
    "one consumer handles both": no("old_use_seen", (*HANDLED, "billing takes orders#1 handled"), shape="two_messages"),
    "old fields are read": no("old_use_seen", (*RECORDED, "billing takes orders#1"), shape="one_message"),
    "a retained old message is replayed": no("old_use_seen", (*MOVED, "billing takes orders.v1 replayed"), says=("stored or replayed",)),
    "an old message from the dead letters": no("old_use_seen", (*MOVED, "billing takes orders.v1.dlq dlq")),
    "decommissioned, and back on the old": no(
        "old_use_seen inventory_incomplete",
        (*MOVED, "fax takes orders.v1"),
        **settings(consumers=["billing", "shipping", {"service": "fax", "decommissioned": {"by": "ana", "at": at(30)}}]),
    ),
    "old use that returns after zero": no(
        "old_use_seen", (*MOVED, "billing takes orders.v1 -9d", "billing takes orders.v1 -1h"), says=("again after 9 days without any",)
    ),
    "a caller of the old route": no(
        "old_use_seen",
        (
            "billing takes api from=/v2/orders source=route x450",
            "shipping takes api from=/v2/orders source=route x450",
            "billing takes api from=/v1/orders source=route",
        ),
        shape="route",
        more=("api",),
    ),
    "an old version on the new destination": no(
        "old_use_seen",
        (*MOVED, "billing takes orders.v2#1"),
        **settings(old={"destination": "orders.v1", "version": "1"}, new={"destination": "orders.v2", "version": "2"}),
    ),
    "an unnamed environment may be this one": no(
        "old_use_seen", (*tuple(f"{line} env=production" for line in MOVED), "billing takes orders.v1"), **settings(environment="production")
    ),
    "promised for longer": no("sunset_not_reached", MOVED, **settings(sunset=at(-3))),
    "not safe and not enough evidence, both are said": no(
        "old_use_seen consumer_not_seen service_silent capture_gap", (*MOVED[:3], "billing takes orders.v1"), capture=gap(GapReason.REFUSED)
    ),
    "a correction of before the window hides nothing in it": no(
        "old_use_seen", (*MOVED, "billing takes orders.v1 -20d", "billing takes orders.v1 -2d", "billing takes orders.v1 -1d minus")
    ),
    "a minute inside the window": no("old_use_seen", (*MOVED, "billing takes orders.v1 -20159m")),
    # ------------------------------------------------------------------ not enough evidence
    "an empty store": open_(f"{EVERYTHING}", ()),
    "only producers": open_("consumer_not_seen service_silent", PUBLISHED),
    "no list": open_("no_inventory", MOVED, **settings(consumers=[])),
    "a list on which nobody counts": open_(
        "no_inventory",
        PUBLISHED,
        **settings(consumers=[{"service": "fax", "decommissioned": {"by": "ana", "at": at(30)}}, {"service": "mirror", "role": "relay"}]),
    ),
    "an unlisted consumer of the new": open_("inventory_incomplete", (*MOVED, "ghost takes orders.v2")),
    "listed and silent": open_("consumer_not_seen", MOVED[:3], more=("shipping",)),
    "listed and never seen, by a wrong name": open_(
        "consumer_not_seen service_silent inventory_incomplete", MOVED, **settings(consumers=["billing", "shiping"]), says=("did you mean shipping?",)
    ),
    "decommissioned in the future": open_(
        "consumer_not_seen service_silent",
        MOVED,
        **settings(consumers=["billing", "shipping", {"service": "fax", "decommissioned": {"by": "ana", "at": at(-3)}}]),
    ),
    "decommissioned, and back on the new": open_(
        "inventory_incomplete",
        (*MOVED, "fax takes orders.v2"),
        **settings(consumers=["billing", "shipping", {"service": "fax", "decommissioned": {"by": "ana", "at": at(30)}}]),
    ),
    "a group was renamed": open_(
        "consumer_not_seen inventory_incomplete",
        (*MOVED[:3], "shipping:b takes orders.v2 x450"),
        **settings(consumers=["billing", {"service": "shipping", "group": "a"}]),
    ),
    "a group of a bare name was renamed in the window": open_(
        "service_silent",
        (*MOVED[:3], "shipping:a takes orders.v2 x800 -20d..-6d", "shipping:b takes orders.v2 x800 -6d..-0d"),
        says=("shipping/a took nothing",),
    ),
    "a service was renamed": open_("consumer_not_seen service_silent inventory_incomplete", (*MOVED[:3], "ship takes orders.v2 x450")),
    "no group, and two on the list": open_(
        "consumer_unresolved",
        (*MOVED[:3], "shipping:a takes orders.v2 x500", "shipping:b takes orders.v2 x500", "shipping takes orders.v2"),
        **settings(consumers=["billing", {"service": "shipping", "group": "a"}, {"service": "shipping", "group": "b"}]),
    ),
    "one of two groups is not seen": open_(
        "consumer_not_seen",
        (*MOVED[:3], "shipping:a takes orders.v2 x500"),
        **settings(consumers=["billing", {"service": "shipping", "group": "a"}, {"service": "shipping", "group": "b"}]),
    ),
    "one message without a version": open_("unknown_version", (*FILTERED, "billing takes orders source="), shape="two_messages"),
    "another spelling of the version": open_("unknown_version", (*FILTERED, "billing takes orders#v2"), shape="two_messages", says=("other versions (v2)",)),
    "a producer without a version": open_("unknown_version", (*FILTERED, "order sends orders source="), shape="two_messages"),
    "few unknown ones are allowed": safe((*FILTERED, "billing takes orders source="), shape="two_messages", **settings(max_unknown=0.05)),
    "too many unknown ones for what is allowed": open_(
        "unknown_version", (*FILTERED, "billing takes orders source= x20"), shape="two_messages", **settings(max_unknown=0.05)
    ),
    "a destination without a name": open_("unknown_version", (*MOVED, "billing takes '' source="), says=("no destination is known",)),
    "listened for too short": open_("window_too_short", tuple(f"{line} -10d..-0d" for line in MOVED), capture=heard(10)),
    "a weekly consumer in ten days": open_(
        "window_too_short",
        (*PUBLISHED, "billing takes orders.v2 x450", "close takes orders.v2 x2 -9d..-0d"),
        capture=heard(14.5),
        **settings(consumers=["billing", {"service": "close", "longest_period": "10d"}]),
    ),
    "a weekly consumer, one trace in ten": open_(
        "window_too_short",
        ("order sends orders.v1 x9000 -100d..-0d", "billing takes orders.v2 x450", "close takes orders.v2 x9 -63d..-0d p=0.1"),
        capture=heard(100),
        **settings(consumers=["billing", {"service": "close", "longest_period": "7d"}]),
        says=("of 36 needed",),
    ),
    "sampled, and nobody says how rarely anything comes": open_(
        "window_too_short", ("order sends orders.v1 x450 p=0.1", "billing takes orders.v2 x450 p=0.1"), capture=heard(14), **settings(consumers=["billing"])
    ),
    "rare old uses before the window": open_("window_too_short", (*MOVED, "billing takes orders.v1 x6 -90d..-15d"), says=("are not unusual",)),
    "one old use long ago": open_("window_too_short", (*MOVED, "billing takes orders.v1 -30d"), says=("1 time before the window",)),
    "a rare old use of nobody on the list": open_("window_too_short", (*MOVED, "ghost takes orders.v1 x2 -60d..-15d")),
    "nobody knows the sampling": open_("sampling_unknown", tuple(f"{line} p=?" for line in MOVED)),
    "the sampling of some spans is unknown": open_("sampling_unknown", (*MOVED, "billing takes orders.v2 p=?")),
    "too few traces": open_("share_bound_too_wide", (*MOVED[:3], "shipping takes orders.v2 x300")),
    "a batch in one trace is one unit": open_("share_bound_too_wide", (*MOVED[:3], "shipping takes orders.v2 x500 traces=100")),
    "counts of two destinations are not added up": open_(
        "share_bound_too_wide",
        (*MOVED[:3], "shipping takes orders.v2 x200", "shipping takes orders-v2 x200"),
        **settings(new={"destination": ["orders.v2", "orders-v2"]}),
    ),
    "failed messages are no units": open_("consumer_not_seen", (*MOVED[:3], "shipping takes orders.v2 x450 error")),
    "replayed messages are no units": open_("consumer_not_seen", (*MOVED[:3], "shipping takes orders.v2 x450 replayed")),
    "corrections take units away": open_("share_bound_too_wide", (*MOVED, "shipping takes orders.v2 x100 -2d..-1d minus")),
    **{f"a gap: {reason}": open_("capture_gap", MOVED, capture=gap(reason)) for reason in GapReason},
    "nobody listened for a day": open_("capture_gap", MOVED, capture=Capture((Interval(0.0, NOW - 3.0 * DAY), Interval(NOW - 2.0 * DAY, float(NOW))))),
    "nobody ever listened": open_("window_too_short consumer_not_seen old_not_offered", MOVED, capture=Capture()),
    "a gap may hide the run of a periodic consumer": open_(
        "window_too_short",
        (*PUBLISHED, "billing takes orders.v2 x450", "close takes orders.v2 x2 -13d..-0d"),
        capture=Capture((Interval(NOW - 15.0 * DAY, float(NOW)),), (Gap(NOW - 3.0 * DAY, NOW - 3.0 * DAY + 30, GapReason.STOPPED),)),
        **settings(consumers=["billing", {"service": "close", "longest_period": "7d"}], tolerated_gap="5m"),
    ),
    "the old is not offered": open_("old_not_offered", MOVED[1:]),
    "too few old ones were offered": open_("old_not_offered", ("order sends orders.v1 x100", *MOVED[1:])),
    "failed sends offer nothing": open_("old_not_offered", ("order sends orders.v1 x450 error", *MOVED[1:])),
    "producers stopped last week": open_("old_not_offered", ("order sends orders.v1 x800 -20d..-7d", *MOVED[1:]), says=("not on offer throughout",)),
    "old receipts without disposition": open_(
        "shape_cannot_prove", (*FILTERED, "billing takes orders#1 x450"), shape="two_messages", says=("without saying whether it used them",)
    ),
    "one message, and the version is the producer's": open_("shape_cannot_prove", (*RECORDED, "billing takes orders#2 source=inherited"), shape="one_message"),
    "the new is ignored": open_(
        "consumer_not_seen", (*SENT_BOTH, "billing takes orders#2 x450 handled", "shipping takes orders#2 x450 ignored"), shape="two_messages"
    ),
    "the service sent no spans": open_("consumer_not_seen service_silent", MOVED[:3]),
    "the consumer fell silent": open_("service_silent", (*MOVED[:3], "shipping takes orders.v2 x900 -20d..-4d"), says=("shipping took nothing for 4 days",)),
    "two environments, and one consumer is in one": open_(
        "consumer_not_seen", tuple(f"{line} env=a" for line in MOVED) + tuple(f"{line} env=b" for line in MOVED[:3]), says=("shipping in b",)
    ),
    "two namespaces of one name, and one has hardly any": open_("share_bound_too_wide", (*MOVED, "shipping takes orders.v2 x9 ns=eu")),
    # ------------------------------------------------------------------ removing the schema
    "no cutoff": open_("old_still_published attestation_missing", MOVED, gate=Gate.REMOVE_SCHEMA),
    "the cutoff is not reached": open_("old_still_published attestation_missing", MOVED, gate=Gate.REMOVE_SCHEMA, **settings(cutoff=at(-3))),
    "published after the cutoff": no("old_still_published", (*ENDED, "order sends orders.v1 -2d"), **REMOVE),
    "sent before the cutoff, arrived a minute after": safe(
        (*ENDED, "order sends orders.v1 -11519m"), gate=Gate.REMOVE_SCHEMA, settings=REMOVED | {"cutoff": at(7.999)}
    ),
    "used after the cutoff": no("old_use_seen", (*ENDED, "billing takes orders.v1 -2d"), **REMOVE),
    "parked in the dead letters": no("old_message_parked", (*ENDED, "billing sends orders.v1.dlq dlq -3h"), **REMOVE),
    "parked before the queues were said to be empty": safe((*ENDED, "billing sends orders.v1.dlq dlq -2d"), **REMOVE),
    "an old message was sent again": no("old_message_parked", (*ENDED, "order sends orders.v1 replayed -3h"), **REMOVE),
    "nothing is attested": open_("attestation_missing", ENDED, gate=Gate.REMOVE_SCHEMA, settings=CUT),
    "attested before the cutoff": open_(
        "attestation_missing",
        ENDED,
        gate=Gate.REMOVE_SCHEMA,
        settings=CUT | {"attestations": [*ATTESTED[1:], {"kind": "retention_elapsed", "at": at(9), "by": "ana"}]},
    ),
    "an attestation expired": open_(
        "attestation_missing",
        ENDED,
        gate=Gate.REMOVE_SCHEMA,
        settings=CUT | {"attestations": [*ATTESTED[1:], {"kind": "retention_elapsed", "at": at(2), "by": "ana", "expires": at(1)}]},
    ),
    "a scan instead of retention": safe(
        ENDED, gate=Gate.REMOVE_SCHEMA, settings=CUT | {"attestations": [*ATTESTED[1:], {"kind": "topic_scanned", "at": at(2), "by": "ana"}]}
    ),
    "snapshots of Pub/Sub": open_("attestation_missing", ENDED, gate=Gate.REMOVE_SCHEMA, settings=REMOVED | {"system": "gcp_pubsub"}),
    "stop-publish is as it was at the cutoff": safe(ENDED, settings=CUT),
    "a route is removed": safe(
        CALLED_LONG,
        shape="route",
        gate=Gate.REMOVE_SCHEMA,
        settings=CUT,
    ),
}
