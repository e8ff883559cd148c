"""docs/detectors.md: what `traced explain` prints, on one page."""

from __future__ import annotations

from documentation.table import table

from traced.detectors import detectors
from traced.store.queries import load_folder

HEADINGS = {"criteria": "Criteria", "rationale": "Rationale", "how_to_fix": "How to fix", "when_it_is_wrong": "When it is wrong"}
INTRODUCTION = """# Detectors

Each is a module in `traced/detectors/` and a query of the same name in `queries/detectors/`. `traced explain ID` prints the same
text. Levels: `violation` (something is lost or wrong), `improvement` (it could be better), `information` (good to know). The level
below is the worst that a detector gives; its criteria say when it gives another.

What all of them have in common: they look at settled traces only (quiet for `analysis.settle_seconds`), each span counts once
however often it came, and a trace that was cut at `analysis.max_spans_per_trace` is never said to lack a parent.

"""


def document() -> str:
    """Give the page."""
    known = detectors()
    summaries = table(("id", "level", "finds"), [(f"[`{d.id}`](#{d.id})", str(d.level), d.documentation["summary"]) for d in known])
    queries = load_folder("detectors")
    parts = [INTRODUCTION, summaries]
    for detector in known:
        parts.append(f"\n## {detector.id}\n\n**{detector.level}**. {detector.documentation['summary']}\n")
        parts += [f"\n**{heading}.** {detector.documentation[key]}\n" for key, heading in HEADINGS.items()]
        parts.append(f"\n**Query** ([`{detector.id}.sql`](../queries/detectors/{detector.id}.sql)). {queries[detector.id].question}\n")
    return "".join(parts)
