"""All open findings.

An occurrence is remembered by its trace, so that it can be withdrawn when late spans explain it. Counters only grow: each
occurrence counts once when it is first found, and once more as withdrawn if it no longer holds. What a limit drops is counted.
"""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from traced.config import FindingsSettings
from traced.findings.grouping import Grouping
from traced.findings.open import Open, dump_open, fair_share, load_open
from traced.findings.saving import dump_occurrence, load_occurrence
from traced.model.finding import Example, Finding
from traced.model.occurrence import Level, Occurrence, OccurrenceKey
from traced.model.suspect import Suspects
from traced.model.views import Tallies
from traced.telemetry import FindingsLimit, Telemetry

TraceId = tuple[int, int]
_Key = TypeVar("_Key")
_RANK: Final = {Level.VIOLATION: 0, Level.IMPROVEMENT: 1, Level.INFORMATION: 2}
_MAX_SERIES: Final = 10_000
_SPARE: Final = 20
"""One part in so many of the occurrences that may be remembered is left free when some had to go."""
_ORPHAN: Final = "orphan_span"


@dataclass(frozen=True, slots=True)
class Wording:
    """How a detector's findings are said: message from an occurrence and the count, and the first step of the fix from an occurrence."""

    sentence: Callable[[Occurrence, int], str]
    how_to_fix: Callable[[Occurrence], str]


class Ledger:
    """Open findings by fingerprint; safe to read from any thread, written by the analysis alone."""

    def __init__(self, settings: FindingsSettings, telemetry: Telemetry, wording: Mapping[str, Wording]) -> None:
        """Start empty; `wording` is by detector id."""
        self._settings = settings
        self._telemetry = telemetry
        self._wording = wording
        self._lock = threading.Lock()
        self._open: dict[str, Open] = {}
        self._by_trace: OrderedDict[TraceId, tuple[Occurrence, ...]] = OrderedDict()
        self._remembered = 0
        self._shrunk: set[str] = set()
        self._mildest: list[str] | None = None
        """Fingerprints, the mildest last: made when a pass first finds the ledger full."""
        self._evicted: dict[str, Open] = {}
        """What had to make room in the pass at hand: it stays out until its occurrences are forgotten, once for all, at the end of the pass."""
        self._snapshot: tuple[Finding, ...] | None = ()
        self._grouping = Grouping()
        self._found: Counter[tuple[str, str, str, str]] = Counter()
        self._withdrawn: Counter[tuple[str, str, str, str]] = Counter()
        self._missing: Counter[tuple[str, str]] = Counter()

    # ------------------------------------------------------------------ writing

    def record(
        self,
        occurrences: Iterable[Occurrence],
        again: Iterable[TraceId],
        could_not_look: frozenset[str],
        now: float,
        withdrawn: Iterable[OccurrenceKey] = (),
        judged: Iterable[OccurrenceKey] = (),
    ) -> None:
        """Take what a pass found.

        Args:
            occurrences: of all traces of the pass.
            again: traces that were analysed before; what they had and have no more is withdrawn.
            could_not_look: detectors that failed in this pass; their earlier occurrences stay.
            now: unix seconds.
            withdrawn: occurrences (`Occurrence.key`) that something in another trace has refuted since.
            judged: occurrences of any trace that were decided anew; what is not among `occurrences` now is withdrawn.
        """
        found: dict[OccurrenceKey, str] = {}
        by_trace: dict[TraceId, list[Occurrence]] = {trace: [] for trace in again}
        whole = frozenset(by_trace)
        for occurrence in occurrences:
            by_trace.setdefault(occurrence.trace_id, []).append(occurrence)
            found[occurrence.key] = occurrence.fingerprint
        with self._lock:
            self._mildest = None
            for key in withdrawn:
                self._take_back(key)
            for key in judged:
                if key[0] not in could_not_look and key[1:3] not in whole:
                    self._take_back(key, found.get(key))
            for trace, new in by_trace.items():
                old = self._forget(trace)
                if old or new:
                    # of a trace that was not looked at whole, nothing that was found before is in doubt
                    stays = could_not_look if trace in whole else None
                    self._replace(trace, old, new, stays, now)
            self._forget_all_of(self._evicted.values())
            self._evicted.clear()
            self._bound()
            self._snapshot = None

    def _take_back(self, key: OccurrenceKey, but: str | None = None) -> None:
        """Withdraw an occurrence, unless it has the fingerprint `but`."""
        trace = (key[1], key[2])
        old = self._by_trace.get(trace, ())
        kept = tuple(o for o in old if o.key != key or o.fingerprint == but)
        if len(kept) == len(old):
            return
        self._forget(trace)
        for occurrence in old:
            if occurrence not in kept:
                self._withdraw(occurrence)
        if kept:
            self._by_trace[trace] = kept
            self._remembered += len(kept)

    def _replace(self, trace: TraceId, old: tuple[Occurrence, ...], new: list[Occurrence], stays: frozenset[str] | None, now: float) -> None:
        """Withdraw what is not found again, but for the detectors whose claims stay (None: all); add what is new."""
        had = {(o.key, o.fingerprint): o for o in old}
        found = {(o.key, o.fingerprint) for o in new}
        counted = {o.missing_span_id for o in old if o.id == _ORPHAN}
        kept = []
        for occurrence in old:
            if (occurrence.key, occurrence.fingerprint) in found:
                continue
            if stays is None or occurrence.id in stays:
                kept.append(occurrence)
            else:
                self._withdraw(occurrence)
        for occurrence in new:
            known = had.get((occurrence.key, occurrence.fingerprint))
            if known is not None:
                self._renew(known, occurrence)
            elif not self._add(occurrence, now):
                continue
            kept.append(occurrence)
            if known is None and occurrence.id == _ORPHAN and occurrence.missing_span_id not in counted:
                counted.add(occurrence.missing_span_id)
                _grow(self._missing, (occurrence.service, occurrence.cause), ("__other__", ""))
        if kept:
            self._by_trace[trace] = tuple(kept)
            self._remembered += len(kept)

    def _renew(self, known: Occurrence, occurrence: Occurrence) -> None:
        """Let a finding say what is known by now of an occurrence that it has already."""
        finding = self._open.get(occurrence.fingerprint)
        if finding is not None:
            finding.confidence_sum += occurrence.confidence - known.confidence
            finding.weigh(known, -1)
            finding.weigh(occurrence)
            finding.newest = occurrence if finding.newest.key == occurrence.key else finding.newest

    def _add(self, occurrence: Occurrence, now: float) -> bool:
        fingerprint = occurrence.fingerprint
        finding = self._open.get(fingerprint)
        if finding is None:
            if fingerprint in self._evicted or (len(self._open) >= self._settings.max_findings and not self._make_room(occurrence.level)):
                self._telemetry.drop_findings(FindingsLimit.MAX_FINDINGS)
                return False
            finding = self._open[fingerprint] = Open(occurrence, examples=deque(maxlen=self._settings.examples))
            finding.instance = occurrence.instance
        finding.instance = finding.instance if finding.instance == occurrence.instance else ""
        finding.newest = max(finding.newest, occurrence, key=_by_time)
        finding.count += 1
        finding.confidence_sum += occurrence.confidence
        finding.weigh(occurrence)
        finding.first_seen = min(finding.first_seen, occurrence.time_unix_nano)
        finding.last_seen = max(finding.last_seen, occurrence.time_unix_nano)
        finding.worst = min(finding.worst, occurrence.level, key=_RANK.__getitem__)
        finding.last_found = now
        finding.examples.append(Example(occurrence.trace_id, occurrence.span_id))
        _grow(self._found, (occurrence.id, occurrence.service, occurrence.peer, occurrence.cause), (occurrence.id, "__other__", "", ""))
        return True

    def _make_room(self, level: Level) -> bool:
        """Forget, for a worse one, one of the mildest findings that was found least lately; say whether there was one."""
        if self._mildest is None:
            order = ((_RANK[f.worst], -f.last_found, fingerprint) for fingerprint, f in self._open.items())
            self._mildest = [fingerprint for _, _, fingerprint in sorted(order)]
        while self._mildest and (mildest := self._open.get(self._mildest[-1])) is None:
            self._mildest.pop()
        if not self._mildest or mildest is None or _RANK[mildest.worst] <= _RANK[level]:
            return False
        fingerprint = self._mildest.pop()
        self._evicted[fingerprint] = self._open.pop(fingerprint)
        self._telemetry.drop_findings(FindingsLimit.MAX_FINDINGS, mildest.count)
        return True

    def _withdraw(self, occurrence: Occurrence) -> None:
        finding = self._open.get(occurrence.fingerprint)
        if finding is None:  # it had to make room, and its occurrences were counted as dropped
            return
        _grow(self._withdrawn, (occurrence.id, occurrence.service, occurrence.peer, occurrence.cause), (occurrence.id, "__other__", "", ""))
        finding.count -= 1
        finding.confidence_sum -= occurrence.confidence
        finding.weigh(occurrence, -1)
        if finding.count <= 0:
            del self._open[occurrence.fingerprint]
        else:
            self._shrunk.add(occurrence.fingerprint)

    def _settle_shrunk(self) -> None:
        """Make findings that lost occurrences say of the others what they say: level, times, examples and newest evidence."""
        if not self._shrunk:
            return
        left: dict[str, list[Occurrence]] = {fingerprint: [] for fingerprint in self._shrunk}
        for occurrences in self._by_trace.values():
            for occurrence in occurrences:
                if occurrence.fingerprint in left:
                    left[occurrence.fingerprint].append(occurrence)
        for fingerprint, remaining in left.items():
            finding = self._open.get(fingerprint)
            if finding is None or not remaining:
                continue
            finding.newest = max(remaining, key=_by_time)
            finding.examples = deque((Example(o.trace_id, o.span_id) for o in remaining), maxlen=self._settings.examples)
            if len(remaining) == finding.count:  # else the limit made some be forgotten: what they said still counts
                finding.first_seen = min(o.time_unix_nano for o in remaining)
                finding.last_seen = max(o.time_unix_nano for o in remaining)
                finding.worst = min((o.level for o in remaining), key=_RANK.__getitem__)
                instances = {o.instance for o in remaining}
                finding.instance = instances.pop() if len(instances) == 1 else ""
        self._shrunk.clear()

    def _forget(self, trace: TraceId) -> tuple[Occurrence, ...]:
        old = self._by_trace.pop(trace, ())
        self._remembered -= len(old)
        return old

    def _forget_all_of(self, findings: Collection[Open]) -> None:
        """Forget the occurrences of findings that are open no more: one walk over all that are remembered."""
        if not findings:
            return
        gone = {finding.newest.identity for finding in findings}
        for trace in [t for t, occurrences in self._by_trace.items() if any(o.identity in gone for o in occurrences)]:
            self._keep(trace, tuple(o for o in self._by_trace[trace] if o.identity not in gone))

    def _bound(self) -> None:
        """Where too many occurrences are remembered, forget the oldest of the findings that have the most: a flood of one pushes out no other's."""
        limit, before = self._settings.max_occurrences, self._remembered
        if before <= limit:
            return
        numbers = Counter(o.identity for occurrences in self._by_trace.values() for o in occurrences)
        limit -= limit // _SPARE  # some more than need be, so that not every pass walks through all
        share = fair_share(numbers.values(), limit)
        surplus = Counter({identity: number - share for identity, number in numbers.items() if number > share})
        for trace in list(self._by_trace):
            if self._remembered <= limit:
                break
            old = self._by_trace[trace]
            gone = [o for o in old if surplus[o.identity] > 0]
            surplus.subtract(o.identity for o in gone)
            self._keep(trace, tuple(o for o in old if o not in gone))
        self._telemetry.drop_findings(FindingsLimit.MAX_OCCURRENCES, before - self._remembered)

    def _keep(self, trace: TraceId, kept: tuple[Occurrence, ...]) -> None:
        """Keep some of a trace's occurrences, where they stand in the order of age."""
        self._remembered -= len(self._by_trace[trace]) - len(kept)
        if kept:
            self._by_trace[trace] = kept
        else:
            del self._by_trace[trace]

    def resolve(self, now: float, analyzed: Mapping[str, float]) -> None:
        """Close findings without a new occurrence for `resolve_after_seconds`, if their service was looked at since.

        Args:
            now: unix seconds.
            analyzed: when spans of a service were last analysed, unix seconds.
        """
        limit = self._settings.resolve_after_seconds
        with self._lock:
            gone = {
                fingerprint
                for fingerprint, finding in self._open.items()
                if now - finding.last_found > limit and analyzed.get(finding.newest.reporter or finding.newest.service, 0.0) > finding.last_found + limit / 2
            }
            if not gone:
                return
            self._forget_all_of([self._open.pop(fingerprint) for fingerprint in gone])
            self._snapshot = None

    # ------------------------------------------------------------------ reading: what FindingsView asks

    def findings(self) -> tuple[Finding, ...]:
        """Give a snapshot of all open findings, worst first."""
        with self._lock:
            if self._snapshot is None:
                self._settle_shrunk()
                shown = (self._finding(fingerprint, one) for fingerprint, one in self._open.items())
                self._snapshot = tuple(sorted(shown, key=lambda f: (_RANK[f.level], -f.count, f.id, f.service, f.fingerprint)))
            return self._snapshot

    def finding(self, fingerprint: str) -> Finding | None:
        """Give one open finding, or None."""
        return next((f for f in self.findings() if f.fingerprint == fingerprint), None)

    def suspects(self, findings: tuple[Finding, ...]) -> Suspects:
        """Give what to mend first, of a snapshot that `findings` gave."""
        return self._grouping.of(findings, self._occurrences)

    def _occurrences(self) -> Sequence[tuple[Occurrence, ...]]:
        with self._lock:
            return tuple(self._by_trace.values())

    def of_trace(self, trace_id: TraceId) -> tuple[Occurrence, ...]:
        """Give the open occurrences of one trace."""
        with self._lock:
            return self._by_trace.get(trace_id, ())

    def tallies(self) -> Tallies:
        """Give the counters, for Prometheus."""
        with self._lock:
            return Tallies(occurrences=dict(self._found), withdrawn=dict(self._withdrawn), missing_spans=dict(self._missing))

    def _finding(self, fingerprint: str, one: Open) -> Finding:
        newest, wording = one.newest, self._wording[one.newest.id]
        return Finding(
            id=newest.id,
            level=one.worst,
            cause=newest.cause,
            fingerprint=fingerprint,
            service=newest.service,
            peer=newest.peer,
            signal_type="span",
            signal_name=newest.signal_name,
            count=one.count,
            confidence=one.confidence_sum / one.count if one.count else 0.0,
            first_seen_unix_nano=one.first_seen,
            last_seen_unix_nano=one.last_seen,
            message=wording.sentence(newest, one.count),
            how_to_fix=wording.how_to_fix(newest),
            examples=tuple(one.examples),
            context=newest.context,
            instance=one.instance,
            adjusted_count=one.adjusted_sum if one.weighed == one.count else None,
        )

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> dict[str, Any]:
        """Give everything open, and the counters, as JSON values."""
        with self._lock:
            self._settle_shrunk()
            return {
                "findings": [dump_open(one) for one in self._open.values()],
                "occurrences": [dump_occurrence(o) for old in self._by_trace.values() for o in old],
                "tallies": [[list(k), n] for k, n in self._found.items()],
                "withdrawn": [[list(k), n] for k, n in self._withdrawn.items()],
                "missing": [[list(k), n] for k, n in self._missing.items()],
            }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take what `dump` gave before a restart; of detectors that exist no more nothing is taken.

        Raises:
            KeyError, IndexError, ValueError, TypeError: this is no such state; nothing was taken.
        """
        findings = [one for one in (load_open(values, self._settings.examples) for values in state["findings"]) if one.newest.id in self._wording]
        open_ = {one.newest.fingerprint: one for one in findings}
        by_trace: OrderedDict[TraceId, tuple[Occurrence, ...]] = OrderedDict()
        for occurrence in map(load_occurrence, state["occurrences"]):
            if occurrence.fingerprint in open_:
                by_trace[occurrence.trace_id] = (*by_trace.get(occurrence.trace_id, ()), occurrence)
        found, withdrawn, missing = (Counter({tuple(k): int(n) for k, n in state[name]}) for name in ("tallies", "withdrawn", "missing"))
        with self._lock:
            self._open = open_
            self._by_trace, self._remembered = by_trace, sum(map(len, by_trace.values()))
            self._found, self._withdrawn, self._missing = found, withdrawn, missing
            self._shrunk.clear()
            self._snapshot = None


def _by_time(occurrence: Occurrence) -> tuple[int, TraceId, int]:
    return (occurrence.time_unix_nano, occurrence.trace_id, occurrence.span_id)


def _grow(counter: Counter[_Key], key: _Key, overflow: _Key) -> None:
    """Count under a key; beyond _MAX_SERIES keys under the overflow key."""
    counter[key if key in counter or len(counter) < _MAX_SERIES else overflow] += 1
