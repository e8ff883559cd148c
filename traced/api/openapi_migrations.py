"""The part of the API's description that is about migrations."""

from __future__ import annotations

from typing import Final

from traced.api.openapi_shapes import (
    COUNT,
    NUMBER,
    PLACE,
    TEXT,
    TEXTS,
    TIME,
    TRUTH,
    Json,
    json_of,
    list_of,
    object_of,
    operation,
    or_null,
    parameter,
    ref,
)
from traced.model.migration import Code, Gate, Phase, Shape, State, Verdict


def _one_of(values: type[Gate | Phase | Shape | State | Verdict | Code]) -> Json:
    return {"type": "string", "enum": [str(value) for value in values]}


_CODE: Final = _one_of(Code)
_VERDICT: Final = object_of(
    {
        "status": TEXT,
        "migration": TEXT,
        "gate": _one_of(Gate),
        "verdict": _one_of(Verdict),
        "sentence": {**TEXT, "description": "The answer in one line."},
        "shape": _one_of(Shape),
        "provable": TEXT,
        "not_provable": TEXT,
        "as_of": TIME,
        "valid_until": TIME,
        "window": object_of({"from": TIME, "to": TIME, "exposed_until": TIME, "needed_seconds": COUNT, "listened_seconds": COUNT}),
        "confidence": NUMBER,
        "reasons": list_of(object_of({"code": _CODE, "state": _one_of(State), "consumer": or_null(TEXT), "detail": TEXT, "examples": list_of(PLACE)})),
        "conditions": list_of(object_of({"name": _CODE, "state": _one_of(State), "detail": TEXT, "examples": list_of(PLACE)})),
        "consumers": list_of(
            object_of(
                {
                    "consumer": TEXT,
                    "environment": or_null(TEXT),
                    "units": {**COUNT, "description": "Sampled traces in which it used the new schema."},
                    "old": COUNT,
                    "unknown": COUNT,
                    "unproven": COUNT,
                    "p": or_null(NUMBER),
                    "p_source": TEXT,
                    "unseen_share": or_null(NUMBER),
                    "unseen_uses": or_null(COUNT),
                    "runs_needed": or_null(COUNT),
                },
            ),
        ),
        "services_seen": TEXTS,
        "left_out": TEXTS,
        "warnings": TEXTS,
        "accepted": list_of(object_of({"code": _CODE, "reason": TEXT})),
        "next_safe_actions": TEXTS,
    },
    description="Whether the old schema may go: NOT_SAFE beats NOT_ENOUGH_EVIDENCE beats SAFE.",
)
_PRODUCER: Final = object_of(
    {
        "service": TEXT,
        "publishes": {"type": "string", "enum": ["old", "both", "new", "unknown"]},
        "old_messages": COUNT,
        "new_messages": COUNT,
        "both_messages": COUNT,
        "unknown_messages": COUNT,
        "complete": or_null(NUMBER),
        "last_old": or_null(TIME),
    },
)
_CONSUMER: Final = object_of(
    {
        "service": TEXT,
        "consumer": TEXT,
        "side": {"type": "string", "enum": ["old", "new", "unknown", "other"]},
        "message_schema_version": TEXT,
        "messages": COUNT,
        "first_seen": TIME,
        "last_seen": TIME,
        "longest_silence_seconds": COUNT,
        "trend": TEXT,
    },
)
_RECORD: Final = object_of(
    {"migration": TEXT, "gate": _one_of(Gate), "verdict": _one_of(Verdict), "as_of": TIME, "valid_until": TIME, "reasons": list_of(_CODE), "explicit": TRUTH},
)
_MIGRATION: Final = {
    "name": TEXT,
    "phase": _one_of(Phase),
    "gates": list_of(ref("Verdict")),
    "producers": list_of(_PRODUCER),
    "consumers": list_of(_CONSUMER),
}
MIGRATION_SCHEMAS: Final[Json] = {
    "Verdict": _VERDICT,
    "Migration": object_of(_MIGRATION),
    "MigrationWithHistory": object_of({**_MIGRATION, "history": list_of(_RECORD)}),
    "Migrations": object_of(
        {"migrations": list_of(ref("Migration")), "found": list_of(object_of({"name": TEXT, "detail": TEXT, "configuration": TEXT}))},
        description="`found`: schemas that flow side by side, of which no configuration speaks, with the YAML to add.",
    ),
    "Check": {
        **object_of({"gate": _one_of(Gate), "accept": list_of(object_of({"code": _CODE, "reason": TEXT}))}, optional=("accept",)),
        "additionalProperties": False,
    },
}
_STANDS: Final = json_of("MigrationWithHistory", "With the verdicts of before.")
_CHECKED: Final = json_of("Verdict", "With every reason.")
_NAME: Final = parameter("path", "name", TEXT, "As in the configuration.")
MIGRATION_PATHS: Final[Json] = {
    "/api/v1/migrations": {"get": operation("listMigrations", "How all migrations stand.", json_of("Migrations", "Perhaps of a minute ago."), errors=(503,))},
    "/api/v1/migrations/{name}": {
        "get": operation("getMigration", "How one migration stands now.", _STANDS, _NAME, errors=(404, 503)),
    },
    "/api/v1/migrations/{name}/check": {
        "post": {
            **operation(
                "checkMigration",
                "The verdict of one gate now; it is remembered.",
                _CHECKED,
                _NAME,
                errors=(400, 403, 404, 408, 413, 503),
            ),
            "requestBody": {"required": True, "content": {"application/json": {"schema": ref("Check")}}},
        },
    },
}
