"""Which attributes say something of a message: they are stored once more, in a column of their own, because the analysis reads them of every span.

What each of them means, and which one counts, is decided in one place: `queries/analysis/message_facts.sql`.
"""

from __future__ import annotations

from typing import Final

PREFIXES: Final = ("messaging.", "message.", "cloudevents.", "celery.", "aws.sqs", "kafka.record.")
KEYS: Final = frozenset({"aws.queue_url", "http.request.header.ce-type", "http.request.header.ce_type"})


def says_of_messages(key: str, further: frozenset[str] = frozenset()) -> bool:
    """Say whether an attribute says something of a message; `further` keys are those that migrations are configured by."""
    return key.startswith(PREFIXES) or key in KEYS or key in further
