"""How findings are said: each detector's own words, as the ledger asks for them."""

from __future__ import annotations

from traced.detectors import detectors
from traced.findings.ledger import Wording


def wording() -> dict[str, Wording]:
    """Give how each detector's findings are said."""
    return {d.id: Wording(d.sentence, d.fix) for d in detectors()}
