"""Which defect, at which place, each detector's findings implicate by cause.

A role says that a finding *names* a suspect (it is evidence enough to hold it) or only *follows* from one that another finding names. What a
cause does not implicate is no role of it, so defects that merely share a service are never taken for one. The table is the one place
where what detectors say is brought together: a detector knows neither the others nor this.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from typing import Final

from traced.model.suspect import SuspectKind


class Defect(StrEnum):
    """What may be wrong at a place."""

    LOSES_SPANS = "loses_spans"
    REPORTS_NOTHING = "reports_nothing"
    LOSES_CONTEXT = "loses_context"
    INJECTS_NO_CONTEXT = "injects_no_context"
    EXTRACTS_NO_CONTEXT = "extracts_no_context"
    CHANGES_IDS = "changes_ids"
    KEEPS_CONTEXT = "keeps_context"
    BEGINS_TRACES = "begins_traces"
    SAMPLES_APART = "samples_apart"
    CLOCKS_DIFFER = "clocks_differ"
    CLOCK_AHEAD = "clock_ahead"
    CLOCK_BEHIND = "clock_behind"
    EXPORTS_TWICE = "exports_twice"
    REUSES_SPAN_IDS = "reuses_span_ids"
    LOOPS = "loops"
    WORKS_OUTSIDE_TRACES = "works_outside_traces"
    FLOODS = "floods"
    FAILS_TO_ANSWER = "fails_to_answer"
    HIDES_TIME = "hides_time"
    CHANGED = "changed"
    USES_OLD_SCHEMA = "uses_old_schema"
    PUBLISHES_OLD_SCHEMA = "publishes_old_schema"
    PUBLISHES_ONE_SCHEMA = "publishes_one_schema"
    SAYS_NO_VERSION = "says_no_version"
    LACKS_PARENTS = "lacks_parents"
    UNDECIDED = "undecided"


class At(Enum):
    """Where a role's suspect is, seen from the finding."""

    SERVICE = auto()
    PEER = auto()
    EDGE_IN = auto()
    """From its peer to its service."""
    EDGE_OUT = auto()
    """From its service to its peer."""
    CALLER = auto()
    """What calls its service and is not named."""
    NAMELESS_CALLER = auto()
    """The same, only where the finding names no peer."""
    CALLED = auto()
    """Its service, only where the finding names a peer."""
    OPERATION = auto()
    CLOCKS = auto()
    """The pair of hosts that its context names, and each of the two."""
    COLLECTOR = auto()
    """What its context says lost spans at that time (`lost_by`), where that is neither side: it may have been anybody's spans."""
    SAME_TRACES = auto()
    """The services that report nothing and are called in most of its traces."""
    TOLD = auto()
    """Wherever another finding's role told of, under the same words."""


Tell = tuple[str, ...]
"""A word, and the finding's attributes that make a telling its own: what one role tells, a role At.TOLD hears."""


@dataclass(frozen=True, slots=True)
class Role:
    """One suspect that a finding implicates.

    Attributes:
        at: where.
        defect: what is wrong there; empty At.TOLD, where the one who tells says it.
        names: the finding alone is enough to hold the suspect; else it only follows where another finding names it.
        tell: under what other findings may hear of the suspect, or what this one listens to.
    """

    at: At
    defect: Defect | None = None
    names: bool = True
    tell: Tell = ()


CONTEXT: Final[Tell] = ("context", "service")
IDS: Final[Tell] = ("ids", "service")
SILENT: Final[Tell] = ("silent", "peer")
"""A service that reports nothing is told of under who calls it."""
LOST_OF_SERVICE: Final[Tell] = ("lost", "service")
LOST_OF_PEER: Final[Tell] = ("lost", "peer")
"""A Collector that lost spans is told of under the service whose spans are missing."""
PARENT: Final[Tell] = ("parent", "service", "signal_name", "cause")
"""The topmost orphan of a rootless trace is an orphan of its own."""


def _follows(at: At, defect: Defect) -> Role:
    return Role(at, defect, names=False)


def _hears(tell: Tell) -> Role:
    return Role(At.TOLD, names=False, tell=tell)


_LOST_HERE: Final = (
    Role(At.SERVICE, Defect.LOSES_SPANS, tell=PARENT),
    Role(At.COLLECTOR, Defect.LOSES_SPANS, tell=PARENT),
    Role(At.COLLECTOR, Defect.LOSES_SPANS, tell=LOST_OF_SERVICE),
    _follows(At.SERVICE, Defect.REPORTS_NOTHING),
)
_LOST_ABOVE: Final = (
    Role(At.PEER, Defect.LOSES_SPANS, tell=PARENT),
    Role(At.COLLECTOR, Defect.LOSES_SPANS, tell=PARENT),
    Role(At.COLLECTOR, Defect.LOSES_SPANS, tell=LOST_OF_PEER),
    _follows(At.PEER, Defect.REPORTS_NOTHING),
)
_LOST_BELOW: Final = (
    Role(At.PEER, Defect.LOSES_SPANS),
    _follows(At.PEER, Defect.REPORTS_NOTHING),
    _follows(At.EDGE_OUT, Defect.LOSES_CONTEXT),
    _hears(LOST_OF_PEER),
)
_UNANSWERED: Final = (
    Role(At.EDGE_OUT, Defect.UNDECIDED),
    _follows(At.PEER, Defect.LOSES_SPANS),
    _follows(At.PEER, Defect.REPORTS_NOTHING),
    _follows(At.EDGE_OUT, Defect.LOSES_CONTEXT),
    _hears(LOST_OF_PEER),
)
_SILENT_ABOVE: Final = (
    Role(At.CALLER, Defect.REPORTS_NOTHING, tell=PARENT),
    _follows(At.PEER, Defect.REPORTS_NOTHING),
    _hears(SILENT),
    _follows(At.SAME_TRACES, Defect.REPORTS_NOTHING),
)
_SAMPLED_ABOVE: Final = (
    *(Role(at, Defect.SAMPLES_APART, tell=PARENT) for at in (At.EDGE_IN, At.PEER, At.CALLED, At.NAMELESS_CALLER)),
    _follows(At.SERVICE, Defect.SAMPLES_APART),
)
_SAMPLED_BELOW: Final = tuple(Role(at, Defect.SAMPLES_APART) for at in (At.EDGE_OUT, At.PEER, At.SERVICE))
_IDS_CHANGED: Final = (Role(At.EDGE_IN, Defect.CHANGES_IDS, tell=IDS), Role(At.NAMELESS_CALLER, Defect.CHANGES_IDS), _hears(IDS))
_NOT_TRAVELLED: Final = Role(At.EDGE_IN, Defect.LOSES_CONTEXT, tell=CONTEXT)

ANY: Final = "*"
ROLES: Final[dict[str, dict[str, tuple[Role, ...]]]] = {
    "orphan_span": {
        "local_loss": _LOST_HERE,
        "upstream_loss": (*_LOST_ABOVE, Role(At.NAMELESS_CALLER, Defect.LOSES_SPANS)),
        "upstream_silent": _SILENT_ABOVE,
        "sampled_out": _SAMPLED_ABOVE,
        "propagation_mangled": _IDS_CHANGED,
        ANY: (Role(At.SERVICE, Defect.LACKS_PARENTS, tell=PARENT),),
    },
    "missing_root_span": {
        "local_loss": (*_LOST_HERE, _hears(PARENT)),
        "upstream_loss": (Role(At.CALLER, Defect.LOSES_SPANS), _hears(PARENT)),
        "upstream_silent": (*_SILENT_ABOVE, _hears(PARENT)),
        "propagation_mangled": (Role(At.CALLER, Defect.CHANGES_IDS), _hears(IDS)),
        ANY: (Role(At.SERVICE, Defect.LACKS_PARENTS), _hears(PARENT)),
    },
    "missing_server_span": {
        "callee_loss": _LOST_BELOW,
        "sampled_out": _SAMPLED_BELOW,
        "not_reached": (Role(At.EDGE_OUT, Defect.FAILS_TO_ANSWER), Role(At.PEER, Defect.FAILS_TO_ANSWER)),
        ANY: _UNANSWERED,
    },
    "missing_consumer_span": {"callee_loss": _LOST_BELOW},
    "missing_producer_span": {
        "upstream_loss": (*_LOST_ABOVE, Role(At.NAMELESS_CALLER, Defect.LOSES_SPANS)),
        "upstream_silent": _SILENT_ABOVE,
        "sampled_out": _SAMPLED_ABOVE,
    },
    "broken_propagation": {
        "not_injected": (_NOT_TRAVELLED, Role(At.PEER, Defect.INJECTS_NO_CONTEXT, tell=CONTEXT)),
        "not_extracted": (_NOT_TRAVELLED, Role(At.SERVICE, Defect.EXTRACTS_NO_CONTEXT, tell=CONTEXT)),
        ANY: (_NOT_TRAVELLED, _follows(At.PEER, Defect.INJECTS_NO_CONTEXT), _follows(At.SERVICE, Defect.EXTRACTS_NO_CONTEXT)),
    },
    "unexpected_root": {ANY: (Role(At.SERVICE, Defect.BEGINS_TRACES), _hears(CONTEXT))},
    "silent_service": {ANY: (Role(At.SERVICE, Defect.REPORTS_NOTHING, tell=SILENT),)},
    "truncated_trace_id": {ANY: _IDS_CHANGED},
    "leaked_context": {ANY: (Role(At.SERVICE, Defect.KEEPS_CONTEXT),)},
    "inconsistent_sampling": {ANY: (Role(At.SERVICE, Defect.SAMPLES_APART),)},
    "clock_skew": {ANY: (Role(At.CLOCKS),)},
    "duplicate_span": {ANY: (Role(At.SERVICE, Defect.EXPORTS_TWICE),)},
    "conflicting_span": {ANY: (Role(At.SERVICE, Defect.REUSES_SPAN_IDS),)},
    "parent_loop": {ANY: (Role(At.SERVICE, Defect.LOOPS), _follows(At.SERVICE, Defect.REUSES_SPAN_IDS), _hears(IDS))},
    "root_client_span": {ANY: (Role(At.SERVICE, Defect.WORKS_OUTSIDE_TRACES),)},
    "span_flood": {ANY: (Role(At.SERVICE, Defect.FLOODS),)},
    "old_schema_consumer": {ANY: (Role(At.SERVICE, Defect.USES_OLD_SCHEMA),)},
    "old_schema_producer": {ANY: (Role(At.SERVICE, Defect.PUBLISHES_OLD_SCHEMA),)},
    "single_publish": {ANY: (Role(At.SERVICE, Defect.PUBLISHES_ONE_SCHEMA),)},
    "unknown_schema_version": {ANY: (Role(At.SERVICE, Defect.SAYS_NO_VERSION),)},
    "blind_gap": {ANY: (Role(At.OPERATION, Defect.HIDES_TIME),)},
    "missing_operation": {
        "local_loss": (Role(At.SERVICE, Defect.LOSES_SPANS),),
        "changed": (Role(At.SERVICE, Defect.CHANGED),),
        ANY: (Role(At.OPERATION, Defect.UNDECIDED), _follows(At.SERVICE, Defect.LOSES_SPANS)),
    },
}
"""Roles by detector and cause; ANY stands for causes that are not listed."""


def roles_of(detector: str, cause: str) -> tuple[Role, ...]:
    """Give the roles of a finding's (id, cause); a detector that is not in the table speaks for its service alone."""
    by_cause = ROLES.get(detector)
    if by_cause is None:
        return (Role(At.SERVICE, Defect.UNDECIDED),)
    return by_cause.get(cause) or by_cause.get(ANY) or (Role(At.SERVICE, Defect.UNDECIDED),)


_EDGE, _CALLER, _OPERATION = SuspectKind.EDGE, SuspectKind.CALLER, SuspectKind.OPERATION
_SAID: Final[dict[Defect, str]] = {
    Defect.LOSES_SPANS: "{subject} makes spans that never arrive.",
    Defect.REPORTS_NOTHING: "{subject} reports no spans.",
    Defect.LOSES_CONTEXT: "{peer} does not pass its context to {service}.",
    Defect.INJECTS_NO_CONTEXT: "{subject} does not put its context into its calls.",
    Defect.EXTRACTS_NO_CONTEXT: "{subject} does not take up the context of what it receives.",
    Defect.CHANGES_IDS: "Trace or span ids are changed on the way from {peer} to {service}.",
    Defect.KEEPS_CONTEXT: "{subject} goes on in the context of work that is over.",
    Defect.BEGINS_TRACES: "{subject} begins traces where it should go on with its callers'.",
    Defect.SAMPLES_APART: "{subject} does not sample as the rest of the trace does.",
    Defect.CLOCKS_DIFFER: "The clocks of {subject} differ.",
    Defect.CLOCK_AHEAD: "The clock of {subject} is ahead of those of the hosts around it.",
    Defect.CLOCK_BEHIND: "The clock of {subject} is behind those of the hosts around it.",
    Defect.EXPORTS_TWICE: "{subject} sends spans more than once.",
    Defect.REUSES_SPAN_IDS: "{subject} gives one span id to different spans.",
    Defect.LOOPS: "{subject} has spans that are their own ancestors.",
    Defect.WORKS_OUTSIDE_TRACES: "{subject} makes calls outside any request or job.",
    Defect.FLOODS: "{subject} records too many spans.",
    Defect.USES_OLD_SCHEMA: "{subject} still uses the old schema of a migration.",
    Defect.PUBLISHES_OLD_SCHEMA: "{subject} publishes the old schema of a migration.",
    Defect.PUBLISHES_ONE_SCHEMA: "{subject} publishes one schema of a migration without the other.",
    Defect.SAYS_NO_VERSION: "{subject} does not say the version of its messages' schema.",
    Defect.FAILS_TO_ANSWER: "Calls to {subject} fail without a response.",
    Defect.HIDES_TIME: "{subject} spends time that no span explains.",
    Defect.CHANGED: "{subject} works otherwise than before.",
    Defect.LACKS_PARENTS: "Parents of spans of {subject} never arrived; who lost them is not known.",
    Defect.UNDECIDED: "At {subject} something is found of which no cause is known.",
}
_SAID_OF: Final[dict[tuple[Defect, SuspectKind], str]] = {
    (Defect.LOSES_SPANS, SuspectKind.COLLECTOR): "{subject} loses spans of several services.",
    (Defect.CHANGES_IDS, _CALLER): "Trace or span ids are changed before they reach {service}.",
    (Defect.SAMPLES_APART, _EDGE): "{peer} and {service} do not sample the same traces.",
    (Defect.FAILS_TO_ANSWER, _EDGE): "Calls from {peer} to {service} fail without a response.",
    (Defect.UNDECIDED, _EDGE): "Calls from {peer} to {service} leave no span there; what is wrong is not known.",
}

NOT_KNOWN: Final = frozenset({Defect.LACKS_PARENTS, Defect.UNDECIDED})
"""What can be said of it, but not what is to be mended: it comes after what can be mended."""
SAID_BY_ITSELF: Final = NOT_KNOWN | {Defect.LOSES_CONTEXT, Defect.CLOCKS_DIFFER, Defect.HIDES_TIME, Defect.CHANGED}
"""Defects whose findings speak of the very place that is to be mended: a single one says it better, with its numbers."""


def said_of(defect: Defect, kind: SuspectKind, subject: str, service: str, peer: str) -> str:
    """Say in one sentence what is wrong at a place."""
    sentence = _SAID_OF.get((defect, kind), _SAID[defect]).format(subject=subject, service=service, peer=peer)
    return sentence[:1].upper() + sentence[1:] if kind is _CALLER else sentence
