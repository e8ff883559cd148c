"""The truth about a damaged set, from what happened and what was done to it; nothing here looks at what `traced` says.

What is demanded follows from what the spans that came can show, in the words of `traced analyze --evidence`. A span taken away makes exactly its
children orphans; a lost SERVER or CONSUMER leaves its caller alone; a lost leaf of another kind leaves no sign, and nothing is demanded.
"""

from __future__ import annotations

from .claims import Allowed, Claim, Expected, Truth
from .damage import Damaged
from .outcome import Aftermath
from .traces import TraceSet
from .truth_missing import missing_messages, missing_roots, missing_servers, orphans
from .truth_propagation import broken_contexts, other_contexts
from .truth_quality import clocks, qualities, side_effects
from .truth_structure import blind_gaps, missing_operations

_RULES = (
    orphans,
    missing_servers,
    missing_messages,
    missing_roots,
    broken_contexts,
    other_contexts,
    qualities,
    clocks,
    side_effects,
    blind_gaps,
    missing_operations,
)

JUDGED = frozenset(
    {
        "orphan_span",
        "missing_server_span",
        "missing_consumer_span",
        "missing_producer_span",
        "missing_root_span",
        "silent_service",
        "blind_gap",
        "missing_operation",
        "broken_propagation",
        "unexpected_root",
        "truncated_trace_id",
        "leaked_context",
        "inconsistent_sampling",
        "duplicate_span",
        "conflicting_span",
        "parent_loop",
        "clock_skew",
        "root_client_span",
        "stuck_message",
        "unbounded_redelivery",
        "duplicate_delivery",
    }
)
"""Detectors of whose occurrences the truth is known; what others say of these worlds is theirs."""


def truth_of(clean: TraceSet, damaged: Damaged) -> Truth:
    """Derive what ought to be reported, and what may be."""
    after = Aftermath(clean, damaged)
    claims: list[Claim] = [claim for rule in _RULES for claim in rule(after)]
    demanded = tuple(c for c in claims if isinstance(c, Expected))
    keys = {(c.id, key) for c in demanded for key in c.keys}
    allowed = dict.fromkeys(c for c in claims if isinstance(c, Allowed) and (c.id, c.key) not in keys)
    return Truth(demanded, tuple(allowed))
