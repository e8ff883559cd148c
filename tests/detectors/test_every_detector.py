"""What holds for all detectors: files that belong together, queries that fit, a fence around each."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import pytest
from looking import NOW, look, new_passes
from spans import many, shared_workbench, spans

import traced.detectors
from traced.config import FindingsSettings
from traced.detectors import Detector, Row, detector_ids, detectors, explain, parse_documentation
from traced.errors import ConfigurationError
from traced.findings.ledger import Ledger, Wording
from traced.graph.defects import ANY, ROLES
from traced.model.occurrence import Level, Occurrence
from traced.store.queries import load_folder
from traced.telemetry import Telemetry

HERE = Path(__file__).parent
LINES = ["web CLIENT a addr=cart", "cart SERVER b<a", "cart INTERNAL c<x", "web SERVER l<l", "web SERVER d", "web SERVER d", "web CLIENT e<d addr=y"]


def test_modules_queries_and_tests_have_the_same_names() -> None:
    modules = {p.stem for p in Path(traced.detectors.__file__).parent.glob("*.py")} - {"__init__"}
    tests = {p.stem.removeprefix("test_") for p in HERE.glob("test_*.py")} - {"every_detector", "through_the_store"}
    assert modules == set(load_folder("detectors")) == tests == set(detector_ids())


@pytest.mark.parametrize("name", sorted(load_folder("detectors")))
def test_a_query_gives_the_columns_that_its_header_names(name: str) -> None:
    look(LINES)
    query = load_folder("detectors")[name]
    given = shared_workbench()._connection.sql(query.sql)
    assert [(c.name, c.type) for c in query.returns] == [(c, str(t).lower()) for c, t in zip(given.columns, given.types, strict=True)]
    assert query.params == ()


@pytest.mark.parametrize("name", sorted(load_folder("detectors")))
def test_what_drives_a_query_is_what_it_selects_from_and_joins_inside(name: str) -> None:
    query = load_folder("detectors")[name]
    assert query.driven_by
    bodies = " ".join(line.partition("--")[0] for line in query.sql.splitlines())
    assert set(query.driven_by) <= set(re.findall(r"\b(?:FROM|JOIN)\s+(\w+)", bodies))
    # without a row there the answer has none, whatever stands in the other tables
    look(LINES)
    connection = shared_workbench()._connection
    for table in query.driven_by:
        connection.register(table, connection.table(table).to_arrow_table().schema.empty_table())
    try:
        assert connection.sql(query.sql).fetchall() == []
    finally:
        for table in query.driven_by:
            shared_workbench()._sizes.pop(table, None)


@pytest.mark.parametrize("name", sorted(load_folder("detectors")))
def test_a_detector_reads_no_raw_attributes(name: str) -> None:
    assert "attributes" not in load_folder("detectors")[name].sql


@pytest.mark.parametrize("detector", detectors(), ids=lambda d: d.id)
def test_a_detector_is_documented_under_every_heading(detector: Detector) -> None:
    assert set(detector.documentation) == {"summary", "criteria", "rationale", "how_to_fix", "when_it_is_wrong"}
    assert all(len(text) > 20 for text in detector.documentation.values())
    assert "\n" not in detector.documentation["summary"]
    assert detector.documentation["summary"].endswith(".")
    assert explain(detector.id) == {"id": detector.id, "level": str(detector.level), **detector.documentation}


@pytest.mark.parametrize("detector", detectors(), ids=lambda d: d.id)
def test_a_detector_only_claims_in_its_own_name(detector: Detector) -> None:
    cases = importlib.import_module(f"test_{detector.id}")
    lines = next(iter(cases.FIRES.values()))[0]
    occurrences = look(lines, only=detector.id).outcome.occurrences
    assert occurrences
    assert {o.id for o in occurrences} == {detector.id}
    for o in occurrences:
        text = detector.sentence(o, 3)
        assert text.endswith(".")
        assert "{" not in text


CALLED = many(25, "web CLIENT a state=ot=th:8;rv:f0000000000000", "cart SERVER s<a state=ot=th:8;rv:f0000000000000")
"""Calls of a service that samples, as it says."""
UNHEARD_OF = [f"cart SERVER m{n}:s<x{n}" for n in range(10)]
"""Calls of whom nothing comes."""
NEVER_INJECTED = [
    *many(30, "gate CLIENT b addr=cart", "cart SERVER c<b"),
    *(line for n in range(1, 40) for line in (f"web CLIENT w{n}:b addr=cart +{n}s ~90ms", f"cart SERVER c{n}:c +{n}001ms ~88ms")),
]
MORE: dict[str, list[list[str]]] = {
    "orphan_span": [UNHEARD_OF, [*CALLED, "cart SERVER lost:s<x"], [*CALLED, "cart SERVER lost:s<x state=ot=th:0;rv:10000000000000"]],
    "missing_root_span": [UNHEARD_OF, [f"cart SERVER m{n}:s<x" for n in range(3)]],
    "broken_propagation": [NEVER_INJECTED],
}
"""What the cases of these detectors hold by other tests: lines of spans, a cause each."""


@pytest.mark.parametrize("detector", sorted(ROLES))
def test_every_cause_that_has_roles_occurs(detector: str) -> None:
    cases = [*importlib.import_module(f"test_{detector}").FIRES.values(), *((lines, "") for lines in MORE.get(detector, ()))]
    missing, others = ROLES[detector].keys() - {ANY}, ANY not in ROLES[detector]
    # what its name stands in an expectation is tried first
    for lines, _ in sorted(cases, key=lambda case: not any(cause in str(case[1]) for cause in missing)):
        causes = {o.cause for o in look(lines, only=detector).outcome.occurrences}
        missing, others = missing - causes, others or bool(causes - ROLES[detector].keys())
        if not missing and others:
            return
    pytest.fail(f"never found: {sorted(missing)}{'' if others else ', and no other cause'}")


@pytest.mark.parametrize("detector", detectors(), ids=lambda d: d.id)
def test_more_cases_are_silent_than_fire_and_each_says_why(detector: Detector) -> None:
    cases = importlib.import_module(f"test_{detector.id}")
    assert len(cases.STAYS_SILENT) > len(cases.FIRES)
    assert all(len(said) > 4 for said in (*cases.FIRES, *cases.STAYS_SILENT))


def test_nobody_explains_what_is_no_detector() -> None:
    assert explain("no_such_detector") is None


# ---------------------------------------------------------------------- at start


DOCUMENTED = '"""Something is wrong.\n\nCriteria:\n    a\n\nRationale:\n    b\n\nHow to fix:\n    c\n\nWhen it is wrong:\n    d\n"""\n'
WHOLE = "ID = __name__.rpartition('.')[2]\nLEVEL = 'information'\n\ndef detect(rows):\n    return []\n\ndef sentence(occurrence, count):\n    return 'x.'\n"


@pytest.fixture
def more_detectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a folder whose modules are found beside the real detectors."""
    monkeypatch.setattr(traced.detectors, "__path__", [*traced.detectors.__path__, str(tmp_path)])
    detectors.cache_clear()
    yield tmp_path
    detectors.cache_clear()


def test_a_module_in_the_folder_is_a_detector_and_no_list_is_edited(more_detectors: Path) -> None:
    (more_detectors / "found_by_walking.py").write_text(DOCUMENTED + WHOLE)
    assert "found_by_walking" in detector_ids()


@pytest.mark.parametrize("missing", ["ID", "LEVEL", "detect", "sentence"])
def test_a_module_that_lacks_a_part_is_an_error_at_start(more_detectors: Path, missing: str) -> None:
    (more_detectors / f"lacks_{missing.lower()}.py").write_text(DOCUMENTED + WHOLE.replace(missing, "other"))
    with pytest.raises(ConfigurationError, match=f"lacks_{missing.lower()} lacks {missing}"):
        detectors()


@pytest.mark.parametrize("heading", ["Criteria", "Rationale", "How to fix", "When it is wrong"])
def test_a_module_that_lacks_a_heading_is_an_error_at_start(more_detectors: Path, heading: str) -> None:
    name = "lacks_" + heading.lower().replace(" ", "_")
    (more_detectors / f"{name}.py").write_text(DOCUMENTED.replace(heading, "Other") + WHOLE)
    with pytest.raises(ConfigurationError, match=heading):
        detectors()


def test_a_module_without_a_query_of_its_name_is_an_error_at_start(more_detectors: Path) -> None:
    (more_detectors / "has_no_query.py").write_text(DOCUMENTED + WHOLE)
    with pytest.raises(ConfigurationError, match="has_no_query"):
        new_passes()


def test_a_module_whose_name_is_not_its_id_is_an_error_at_start(more_detectors: Path) -> None:
    (more_detectors / "misnamed.py").write_text(DOCUMENTED + WHOLE + "\nID = 'orphan_span'\n")
    with pytest.raises(ConfigurationError, match="detector misnamed calls itself orphan_span"):
        detectors()


def test_a_detector_that_claims_in_anothers_name_is_fenced() -> None:
    passes = new_passes()
    ids = [d.id for d in passes._detectors]
    orphan, loop = (passes._detectors[ids.index(i)] for i in ("orphan_span", "parent_loop"))
    passes._detectors = (replace(loop, detect=orphan.detect), orphan)
    passes._queries = {**passes._queries, "parent_loop": passes._queries["orphan_span"]}
    outcome = passes.run(spans(*LINES).settled(), NOW)
    assert {o.id for o in outcome.occurrences} == {"orphan_span"}
    assert "parent_loop" in outcome.failed


def test_headings_divide_a_docstring() -> None:
    parts = parse_documentation("It is wrong.\n\nCriteria:\n    One: two.\n\n    Three.\n\nHow to fix:\n    Mend.\n")
    assert parts == {"summary": "It is wrong.", "criteria": "One: two.\n\nThree.", "how_to_fix": "Mend."}


# ---------------------------------------------------------------------- the fence


def _raising(detector: Detector) -> Detector:
    def detect(rows: list[Row]) -> list[Occurrence]:
        raise RuntimeError(f"cannot look at {len(rows)} rows")

    return replace(detector, detect=detect)


@pytest.mark.parametrize("broken", detector_ids())
def test_a_detector_that_raises_is_counted_and_the_others_still_run(broken: str) -> None:
    passes = new_passes()
    whole = passes.run(spans(*LINES).settled(), NOW)
    passes = new_passes()
    passes._detectors = tuple(_raising(d) if d.id == broken else d for d in passes._detectors)
    outcome = passes.run(spans(*LINES).settled(), NOW)
    assert broken in outcome.failed
    assert {o.key for o in outcome.occurrences} == {o.key for o in whole.occurrences if o.id != broken}
    assert outcome.edges == whole.edges
    errors = {s.labels["detector"]: s.value for m in passes._telemetry.detector_errors.collect() for s in m.samples}
    assert errors == {broken: 1}


def test_a_detector_whose_query_fails_is_counted_and_the_others_still_run() -> None:
    passes = new_passes()
    query = passes._queries["orphan_span"]
    passes._queries = {**passes._queries, "orphan_span": replace(query, sql="SELECT no_such_column FROM pass_suspects")}
    outcome = passes.run(spans(*LINES).settled(), NOW)
    assert "orphan_span" in outcome.failed
    assert "parent_loop" in {o.id for o in outcome.occurrences}


def test_what_a_failing_detector_found_before_stays_open() -> None:
    ledger = Ledger(FindingsSettings(), Telemetry(), {d.id: Wording(d.sentence, d.fix) for d in detectors()})
    passes = new_passes()
    outcome = passes.run(spans(*LINES).settled(), NOW)
    ledger.record(outcome.occurrences, outcome.again, outcome.failed, NOW)
    before = {f.id: f.count for f in ledger.findings()}
    assert {"orphan_span", "parent_loop"} <= set(before)
    traces = {o.trace_id for o in outcome.occurrences}
    # looked at again: one detector cannot look, the others find nothing any more
    ledger.record([], traces, frozenset({"orphan_span"}), NOW + 1)
    assert {f.id: f.count for f in ledger.findings()} == {"orphan_span": before["orphan_span"]}


# ---------------------------------------------------------------------- the missing one is what we look for


def test_no_table_demands_that_a_parent_exists() -> None:
    with duckdb.connect(":memory:") as connection:
        for query in load_folder("ddl/tables").values():
            connection.execute(query.sql)
        kinds = {row[0] for row in connection.execute("SELECT constraint_type FROM duckdb_constraints()").fetchall()}
        assert "FOREIGN KEY" not in kinds
        # the question finds one where there is one
        connection.execute("CREATE TABLE one (id BIGINT PRIMARY KEY)")
        connection.execute("CREATE TABLE other (parent BIGINT REFERENCES one (id))")
        assert "FOREIGN KEY" in {row[0] for row in connection.execute("SELECT constraint_type FROM duckdb_constraints()").fetchall()}


def test_no_sql_file_speaks_of_references() -> None:
    root = Path(traced.__file__).parent.parent / "queries"
    files = list(root.rglob("*.sql"))
    assert len(files) > 20
    for path in files:
        code = "\n".join(line.partition("--")[0] for line in path.read_text(encoding="utf-8").splitlines())
        assert not re.search(r"\b(references|foreign\s+key)\b", code, re.IGNORECASE), path


def test_levels_are_weavers() -> None:
    assert {d.level for d in detectors()} <= set(Level)


def _module(detector: Detector) -> ModuleType:
    return importlib.import_module(f"traced.detectors.{detector.id}")


@pytest.mark.parametrize("detector", detectors(), ids=lambda d: d.id)
def test_a_detector_is_pure(detector: Detector) -> None:
    rows: list[dict[str, Any]] = []
    assert list(_module(detector).detect(rows)) == []
