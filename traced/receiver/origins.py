"""Resources and scopes of a request: each distinct one once, with what identifies a service and its clock."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import numpy as np
import pyarrow as pa

from traced.model.schema import RESOURCES, SCOPES
from traced.receiver.parsing import Ints, Parsed, flat, parse
from traced.receiver.text import clean_one, clean_text
from traced.receiver.walking import Walker
from traced.receiver.wire import Limits

CLOCK_KEYS: Final = ("host.id", "k8s.node.name", "host.name", "service.instance.id")
"""What names the clock a span was timed by, the most certain first."""

_ENVIRONMENT_KEYS: Final = ("deployment.environment.name", "deployment.environment")
_IDENTITY: Final = ("service.namespace", "service.name", "service.version", "service.instance.id")


class Origins:
    """Numbers the distinct resources, or the distinct scopes, of a request.

    Attributes:
        ids: for each ResourceSpans (or ScopeSpans), the number of its resource (or scope).
        occurrences: how often each distinct one stands in the request.
        attributes: (offsets, raw KeyValues) of the distinct ones.
    """

    def __init__(self, message: str, raw: pa.Array, urls: pa.Array, limits: Limits, altered: Counter[str], walker: Walker) -> None:
        """Parse the distinct ones; `message` is Resource or Scope, `walker` is of this request."""
        numbers: dict[tuple[bytes, bytes], int] = {}
        pairs = zip(raw.to_pylist(), urls.to_pylist(), strict=True)
        self.ids = np.array([numbers.setdefault((one or b"", url), len(numbers)) for one, url in pairs], np.uint32)
        self.occurrences: Ints = np.bincount(self.ids, minlength=len(numbers)).astype(np.int64)
        self._limits = limits
        self._altered = altered
        self._parsed = parse(message, pa.array([one for one, _ in numbers], pa.binary()), limits.max_origin_list, walker)
        if self._parsed.broken is not None:
            altered[f"malformed_{message.lower()}"] += int(self.occurrences[self._parsed.broken].sum())
        lists = self._parsed.rows.column("attributes")
        self.attributes = flat(lists)
        self._dropped = _dropped(self._parsed, self.occurrences, altered)
        self._urls = [
            clean_one(url, limits.max_value_bytes, altered, "schema_url", int(times)) for (_, url), times in zip(numbers, self.occurrences, strict=True)
        ]

    def resources(self, attribute_ids: pa.ListArray, dictionary: pa.RecordBatch) -> pa.RecordBatch:
        """Give RESOURCES rows; of a repeated key the first counts."""
        used = attribute_ids.flatten()
        keys, values = (dictionary.column(name).take(used).to_pylist() for name in ("key", "value"))
        starts = np.asarray(attribute_ids.offsets)
        rows: list[dict[str, Any]] = []
        for row, ids in enumerate(attribute_ids.to_pylist()):
            known = {keys[place]: values[place] for place in range(int(starts[row + 1]) - 1, int(starts[row]) - 1, -1)}
            namespace, name, version, instance = (known.get(key, "") for key in _IDENTITY)
            rows.append(
                {
                    "service_namespace": namespace,
                    "service_name": name,
                    "service_version": version,
                    "service_instance_id": instance,
                    "host": next((known[key] for key in CLOCK_KEYS if known.get(key)), ""),
                    "telemetry_sdk_language": known.get("telemetry.sdk.language", ""),
                    "deployment_environment_name": next((known[key] for key in _ENVIRONMENT_KEYS if known.get(key)), ""),
                    "attribute_ids": ids,
                    "dropped_attributes_count": int(self._dropped[row]),
                    "schema_url": self._urls[row],
                },
            )
        return pa.RecordBatch.from_pylist(rows, schema=RESOURCES)

    def scopes(self, attribute_ids: pa.ListArray) -> pa.RecordBatch:
        """Give SCOPES rows."""
        columns = [
            *(
                clean_text(self._parsed.rows.column(name), self._limits.max_value_bytes, self._altered, "scope", lambda: self.occurrences)
                for name in ("name", "version")
            ),
            attribute_ids,
            pa.array(self._dropped, pa.uint32()),
            pa.array(self._urls, pa.string()),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=SCOPES)


def _dropped(parsed: Parsed, occurrences: Ints, altered: Counter[str]) -> Ints:
    """Give how many attributes each lost, in all: as it says itself, and beyond our limit."""
    dropped: Ints = np.asarray(parsed.rows.column("dropped_attributes_count")).astype(np.int64)
    excess = parsed.excess.get("attributes")
    if excess is None:
        return dropped
    altered["attributes_cut"] += int((excess * occurrences).sum())
    total: Ints = np.minimum(dropped + excess, 2**32 - 1)
    return total
