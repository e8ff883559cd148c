"""The words in which the API is described: types, references, answers, operations."""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

TEXT: Json = {"type": "string"}
TEXTS: Json = {"type": "array", "items": TEXT}
COUNT: Json = {"type": "integer", "minimum": 0}
WHOLE: Json = {"type": "integer", "format": "int64"}
NUMBER: Json = {"type": "number"}
TRUTH: Json = {"type": "boolean"}
FREE: Json = {"type": "object", "additionalProperties": True}
TIME: Json = {"type": "string", "format": "date-time", "description": "RFC 3339, UTC, nanoseconds."}
TRACE_ID: Json = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
SPAN_ID: Json = {"type": "string", "pattern": "^([0-9a-f]{16})?$", "description": "Empty where there is none."}

MEANINGS = {
    400: "The request cannot be understood.",
    403: "It comes from a foreign page.",
    404: "It is not here.",
    408: "The body did not arrive in time.",
    413: "The body is too large.",
    503: "Too busy; come back after Retry-After seconds.",
}


def object_of(properties: Json, optional: tuple[str, ...] = (), description: str = "") -> Json:
    """Describe an object; all properties are required but the optional ones."""
    shape: Json = {"type": "object", "properties": properties, "required": [name for name in properties if name not in optional]}
    return {**shape, "description": description} if description else shape


def list_of(item: Json) -> Json:
    """Describe an array."""
    return {"type": "array", "items": item}


def ref(name: str) -> Json:
    """Refer to a schema by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def or_null(shape: Json) -> Json:
    """Allow null too."""
    return {"anyOf": [shape, {"type": "null"}]}


def json_of(schema: str, description: str) -> Json:
    """Describe an answer that follows a schema."""
    return {"description": description, "content": {"application/json": {"schema": ref(schema)}}}


def operation(name: str, summary: str, answer: Json, *parameters: Json, errors: tuple[int, ...] = ()) -> Json:
    """Describe an operation, its parameters, and what may go wrong."""
    described: Json = {"operationId": name, "summary": summary, "responses": {"200": answer}}
    if parameters:
        described["parameters"] = list(parameters)
    for status in errors:
        described["responses"][str(status)] = json_of("Error", MEANINGS[status])
    described["responses"]["default"] = json_of("Error", "Anything else that went wrong, in the same shape.")
    return described


def parameter(place: str, name: str, schema: Json, description: str) -> Json:
    """Describe a parameter; those of a path are required."""
    return {"in": place, "name": name, "required": place == "path", "schema": schema, "description": description}


PLACE: Json = object_of({"trace_id": TRACE_ID, "span_id": SPAN_ID})
