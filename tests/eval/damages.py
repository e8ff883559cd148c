"""All damages by name, and the worlds that each is done to."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from . import damage_contexts as contexts
from . import damage_harmless as harmless
from . import damage_leaves as leaves
from . import damage_loss as loss
from . import damage_sampling as sampling
from .damage import Cut, Damaged, undamaged
from .real_sets import NAMES
from .traces import TraceSet
from .worlds import WORLDS


@dataclass(frozen=True)
class Damage:
    """One damage.

    Attributes:
        about: what it is, for `--list`.
        worlds: where it is done by default; elsewhere with `--everywhere`.
        whole: it needs a set whose processes are known by instance and host, and whose services are known to lack none: a generated one.
    """

    name: str
    apply: Callable[[TraceSet, random.Random], Damaged]
    worlds: tuple[str, ...]
    about: str
    whole: bool = False

    def done_to(self, clean: TraceSet, seed: int) -> Damaged:
        """Damage a set; the same seed does the same."""
        return self.apply(clean, random.Random(f"{seed} {clean.name} {self.name}"))


_CUT = ("shop@0.2", "shop", "shop@20", "fifty", "fifty@20", "gateway", "mesh", "old", "forwarder", "numbered", "dsb_hotel", "node_chain")
_LOST = ("shop", "fifty", "mesh", "old", "retries", "dsb_hotel")


def _clean(clean: TraceSet, rng: random.Random) -> Damaged:
    del rng
    return undamaged(clean)


_ALL = (
    Damage("clean", _clean, (*WORLDS, *NAMES), "nothing is done: whatever is found is false"),
    Damage("loss_1", partial(loss.by_chance, share=0.01), ("shop", "fifty", "dsb_hotel"), "one service loses 1 % of its spans"),
    Damage(
        "loss_5",
        partial(loss.by_chance, share=0.05),
        (*_LOST, "fanout_parent", "fanout_link", "gateway", "streaming", "entry", "dsb_media"),
        "one service loses 5 %",
    ),
    Damage("batch", partial(loss.batch, share=0.1), ("shop", "fifty", "streaming"), "one instance loses all that ended in a window", whole=True),
    Damage("batches", partial(loss.batches, share=0.1), ("shop", "fifty", "gateway"), "two services lose a batch each", whole=True),
    Damage("queue_full", partial(loss.queue_full, share=0.15), ("shop@20", "fifty"), "one instance loses half of what ended in a burst", whole=True),
    Damage("restart", partial(loss.restart, share=0.05), ("shop", "fifty"), "one instance is killed and replaced", whole=True),
    Damage("leaves_5", partial(leaves.by_chance, share=0.05), ("shop", "fifty", "waiting"), "one service loses 5 % of its spans without children"),
    Damage("leaves_instance", leaves.of_an_instance, ("shop", "old", "waiting", "gateway"), "one instance ceases to deliver one kind of leaf", whole=True),
    Damage("leaves_version", leaves.since_a_version, ("shop", "old", "waiting", "gateway"), "a new version does not record one kind of leaf", whole=True),
    Damage("dead", loss.dead, ("shop", "fifty", "gateway", "mesh", "fanout_parent", "dsb_hotel"), "one service never reports and passes contexts on"),
    Damage("dead_midway", loss.dead_midway, ("shop", "fifty"), "one service stops reporting"),
    Damage("drop_server", partial(loss.servers, share=0.05), (*_LOST, "fanout_parent", "forwarder", "dsb_social"), "5 % of all called spans are lost"),
    Damage("drop_subtree", partial(loss.subtrees, share=0.03), ("shop", "fifty", "dsb_hotel"), "the same with all below"),
    Damage(
        "drop_client",
        partial(loss.clients, share=0.05),
        ("shop", "fifty", "fanout_parent", "fanout_link", "scheduled", "dsb_hotel"),
        "5 % of all calling spans are lost",
    ),
    Damage("drop_root", partial(loss.roots, share=0.05), ("shop", "fanout_parent", "node_chain", "dsb_media"), "5 % of all roots are lost"),
    Damage("uninstrumented", loss.uninstrumented, ("shop", "fifty"), "one service has no SDK and drops contexts"),
    Damage("header_forwarding", loss.header_forwarding, ("shop", "fifty"), "one service has no SDK and passes contexts through"),
    Damage("unseen_callers", partial(contexts.unseen_callers, share=0.015), ("shop", "fifty", "dsb_hotel"), "1.5 % of all calls come from what emits nothing"),
    Damage("cut_5", partial(contexts.of_an_edge, how=Cut.NEW_TRACE, share=0.05), _CUT, "5 % of one edge's calls begin a new trace"),
    Damage("cut_30", partial(contexts.of_an_edge, how=Cut.NEW_TRACE, share=0.3), ("shop", "shop@20", "fifty", "streaming", "retries", "dsb_media"), "30 %"),
    Damage("cut_100", partial(contexts.of_an_edge, how=Cut.NEW_TRACE, share=1.0), _CUT, "all"),
    Damage("cut_caller", contexts.of_a_caller, ("shop", "fifty", "numbered"), "a service injects no context"),
    Damage("cut_callee", contexts.of_a_callee, ("shop", "fifty", "shop@20", "numbered"), "a service extracts no context"),
    Damage("cut_process", partial(contexts.of_a_process, side=0), ("shop", "fifty"), "one process injects no context into one edge's calls"),
    Damage("cut_at_process", partial(contexts.of_a_process, side=1), ("shop", "gateway"), "one process extracts no context of one edge's calls"),
    Damage(
        "cut_same_trace", partial(contexts.of_an_edge, how=Cut.SAME_TRACE, share=0.1), ("shop", "dsb_hotel"), "10 % of an edge lose the parent, not the trace"
    ),
    Damage("cut_consumers", partial(contexts.of_consumers, how=Cut.NEW_TRACE, share=0.1), ("fanout_parent",), "10 % of the consumers begin a new trace"),
    Damage("linked", partial(contexts.of_consumers, how=Cut.LINKED, share=0.5), ("fanout_parent",), "half of the consumers begin a new trace, with a link"),
    Damage(
        "mangled",
        partial(contexts.of_an_edge, how=Cut.INVENTED, share=0.2),
        ("shop", "fifty", "mesh", "dsb_hotel"),
        "a proxy invents 20 % of an edge's parent ids",
    ),
    Damage("constant_parent", partial(contexts.of_an_edge, how=Cut.CONSTANT, share=0.5), ("shop", "old"), "a proxy sets one parent id for half of an edge"),
    Damage("half_id", partial(contexts.of_an_edge, how=Cut.HALF, share=0.3), ("shop", "mesh"), "30 % of an edge get half a trace id", whole=True),
    Damage("half_id_10", partial(contexts.of_a_callee_half, share=0.1), ("shop", "retries"), "10 % of one service's calls get half a trace id", whole=True),
    Damage("head_50", partial(sampling.head, share=0.5), ("shop", "fanout_link"), "50 % of all traces are kept"),
    Damage("head_10", partial(sampling.head, share=0.1), ("fifty", "fanout_link", "scheduled"), "10 %"),
    Damage("head_1", partial(sampling.head, share=0.01), ("fifty",), "1 %"),
    Damage("sampled_th", sampling.consistent, ("shop", "fifty", "fanout_parent"), "each service samples for itself, with `ot=th`"),
    Damage("sampled_ratio", sampling.ratio, ("shop", "fifty", "old"), "each service samples for itself, without a mark"),
    Damage("disagreeing", partial(sampling.disagreeing, share=0.2), ("shop", "fifty"), "one service draws a randomness of its own in 20 % of its traces"),
    Damage("tail_marked", partial(sampling.tail_parts, marked=True), ("shop", "fifty"), "two Collectors sample parts of traces, and say so"),
    Damage("tail", partial(sampling.tail_parts, marked=False), ("shop",), "the same, without a mark"),
    Damage("late", harmless.late, ("shop", "fanout_link"), "one service's spans arrive last"),
    Damage("skew_3ms", partial(harmless.skewed, offset_ms=3), ("shop", "fifty"), "one host's clock is 3 ms ahead", whole=True),
    Damage("skew_200ms", partial(harmless.skewed, offset_ms=200), ("shop",), "200 ms", whole=True),
    Damage("skew_5s", partial(harmless.skewed, offset_ms=5000), ("shop", "mesh"), "5 s", whole=True),
    Damage("drift", partial(harmless.drifting, offset_ms=500, drift_ms=40), ("shop", "fifty"), "500 ms, and 40 more at the end", whole=True),
    Damage("twice", partial(harmless.exported_twice, share=0.04), ("shop", "trainticket_zipkin_v1"), "4 % of all spans arrive twice"),
    Damage("redelivered", partial(harmless.redelivered, share=0.1), ("fanout_parent", "fanout_link"), "10 % of all messages are consumed twice"),
    Damage("leaked", partial(contexts.leaked, share=0.08), ("shop", "fanout_parent"), "requests run under an ended one of the same process", whole=True),
    Damage("looped", partial(contexts.looped, share=0.02), ("shop", "dsb_hotel"), "2 % of the called spans are their own ancestors"),
    Damage("equal_ids", partial(harmless.equal_ids, share=0.05), ("shop",), "two spans of a trace carry one id"),
)
DAMAGES: Mapping[str, Damage] = MappingProxyType({d.name: d for d in _ALL})
