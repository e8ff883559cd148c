"""The description is true: every path is in it, and every answer is as it says."""

from __future__ import annotations

import re
from typing import Any

import pytest
from asgi_client import app_over, ask
from fake_views import FakeViews, edge, finding, log, occurrence, span, spans

from traced.api.openapi import OPENAPI
from traced.api.routes import api_routes
from traced.model.occurrence import Level
from traced.model.schema import LOGS

VIEWS = FakeViews(
    [finding(), finding("b", peer="", level=Level.INFORMATION)],
    [occurrence(matched=(0, 1, 2)), occurrence(span_id=2, peer="", missing_span_id=0)],
    [edge("web", "cart")],
    {(0, 0xABC): spans(span(1), span(0x11, 0xFF))},
    {(0, 0xABC): LOGS.empty_table().from_pylist([log()], schema=LOGS)},
)


def test_every_route_is_described_with_its_methods_and_nothing_else_is():
    routes = {route.path: {m.lower() for m in route.methods or ()} - {"head"} for route in api_routes(None)}  # type: ignore[arg-type]
    assert {path: set(item) for path, item in OPENAPI["paths"].items()} == routes


def problems(value: Any, schema: dict[str, Any], at: str) -> list[str]:
    """Say where a value is not as its schema; a property that is not described counts too."""
    if "$ref" in schema:
        return problems(value, OPENAPI["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], at)
    if "anyOf" in schema:
        return [] if any(not problems(value, one, at) for one in schema["anyOf"]) else [f"{at}: fits none of anyOf"]
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)}
    if "type" in schema and not isinstance(value, kinds[schema["type"]]):
        return [f"{at}: {value!r} is no {schema['type']}"]
    found = [f"{at}: {value!r} does not match"] if "pattern" in schema and not re.search(schema["pattern"], value) else []
    found += [f"{at}: {value!r} is none of the values"] if "enum" in schema and value not in schema["enum"] else []
    if isinstance(value, dict) and "properties" in schema:
        found += [f"{at}: lacks {name}" for name in schema["required"] if name not in value]
        for name, one in value.items():
            found += problems(one, schema["properties"][name], f"{at}.{name}") if name in schema["properties"] else [f"{at}: {name} is not described"]
    if isinstance(value, list):
        found += [problem for number, one in enumerate(value) for problem in problems(one, schema["items"], f"{at}[{number}]")]
    return found


@pytest.mark.parametrize(
    ("path", "template", "sent"),
    [
        ("/api/v1/findings", None, None),
        (f"/api/v1/findings/{VIEWS.all_findings[0].fingerprint}", "/api/v1/findings/{fingerprint}", None),
        ("/api/v1/graph", None, None),
        ("/api/v1/traces/abc", "/api/v1/traces/{trace_id}", None),
        ("/api/v1/status", None, None),
        ("/api/v1/queries", None, None),
        ("/api/v1/query", None, {"sql": "select 1"}),
        ("/api/v1/openapi.json", None, None),
        ("/livez", None, None),
        ("/readyz", None, None),
        ("/api/v1/findings?limit=x", "/api/v1/findings", None),
    ],
)
def test_an_answer_is_as_it_is_described(path: str, template: str | None, sent: dict | None):
    method = "post" if sent else "get"
    answer = ask(app_over(VIEWS), path, method.upper(), json=sent)
    described = OPENAPI["paths"][template or path][method]["responses"][str(answer.status_code)]
    schema = described["content"]["application/json"]["schema"]
    assert problems(answer.json(), schema, "answer") == []


def test_the_check_itself_sees_what_is_missing_or_not_described():
    assert problems({"alive": True, "more": 1}, {"$ref": "#/components/schemas/Alive"}, "x") == ["x: more is not described"]
    assert problems({}, {"$ref": "#/components/schemas/Alive"}, "x") == ["x: lacks alive"]


def test_every_reference_leads_somewhere():
    names = re.findall(r"#/components/schemas/(\w+)", str(OPENAPI))
    assert set(names) <= set(OPENAPI["components"]["schemas"])
    assert len(names) > 10
