"""What the documents say is what the code does."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from documentation import configuration, metrics
from documentation.generate import DOCS, ROOT, documents
from typer.main import get_command

import traced
from traced.cli.app import app
from traced.config import Settings, load
from traced.detectors import detector_ids
from traced.telemetry import AnalysisLimit, Telemetry

README = (ROOT / "README.md").read_text(encoding="utf-8")
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
WRITTEN = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]


@pytest.mark.parametrize("path", ["configuration.md", "detectors.md", "metrics.md"])
def test_a_generated_document_is_current(path: str):
    assert (DOCS / path).read_text(encoding="utf-8") == documents()[DOCS / path], "run `make docs`"


def test_every_label_of_a_metric_is_explained_and_no_other():
    assert set(metrics.LABELS) == {label for one in metrics.shown() for label in one.labels}


def test_every_limit_that_the_code_names_is_documented_and_shown_before_it_is_reached():
    said: dict[str, set[str]] = {}
    for metric, limit, text in metrics.limits():
        assert text.endswith(".")
        said.setdefault(metric, set()).add(limit)
    assert said == {metric: set(kind) for metric, kind in metrics.LIMITS.items()}
    shown = {sample.name: set() for family in Telemetry().own_families() for sample in family.samples if "limit" in sample.labels}
    for family in Telemetry().own_families():
        for sample in family.samples:
            if sample.name in shown:
                shown[sample.name].add(sample.labels["limit"])
    assert shown == said


def test_limits_that_the_graph_counts_by_name_are_among_those_of_the_telemetry():
    """The thinking rooms know no telemetry: there a limit is a word."""
    named = {name for path in (ROOT / "traced" / "graph").glob("*.py") for name in re.findall(r'skipped\["(\w+)"\]', path.read_text(encoding="utf-8"))}
    assert named == {"candidates", "component"}
    assert {f"match_{name}" for name in named} <= set(AnalysisLimit)


def test_no_limit_is_counted_but_by_its_name_in_the_telemetry():
    for path in (ROOT / "traced").rglob("*.py"):
        if path.name != "telemetry.py":
            assert not re.search(r"\b(analysis_dropped|dropped_findings)\.", path.read_text(encoding="utf-8")), path


def test_expressions_name_metrics_that_there_are():
    there_are = {one.name for one in metrics.shown()}
    named = {name for text in metrics.EXAMPLES.values() for name in re.findall(r"\btraced?s?_[a-z_]+", text)}
    assert named
    assert named <= there_are


def test_the_configuration_example_is_a_valid_file(tmp_path: Path):
    file = tmp_path / "traced.yaml"
    file.write_text(configuration.EXAMPLE, encoding="utf-8")
    settings = load(file).model_dump(mode="json")
    for room, values in yaml.safe_load(configuration.EXAMPLE).items():
        for name, value in values.items():
            assert settings[room][name] == value


def test_every_room_of_the_settings_is_documented():
    assert [*(room for room, _, _ in configuration.rooms()), "migrations"] == list(Settings.model_fields)


def test_the_example_of_a_migration_is_a_valid_file(tmp_path: Path):
    file = tmp_path / "traced.yaml"
    file.write_text(configuration.MIGRATION_EXAMPLE, encoding="utf-8")
    assert [one.name for one in load(file).configured_migrations()] == ["order-created-v2"]


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(path: Path):
    text = path.read_text(encoding="utf-8")
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"[a-z]+:", target)]
    absent = [target for target in targets if target and not (path.parent / target).exists()]
    assert absent == []


def test_the_readme_lists_every_detector_and_no_other():
    assert set(re.findall(r"^\| `([a-z_]+)` \|", README, re.MULTILINE)) == set(detector_ids())


def test_the_readme_names_only_commands_that_there_are():
    there_are = set(get_command(app).commands)  # type: ignore[attr-defined]
    named = set(re.findall(r"(?:^|`|/)traced ([a-z]+)\b", README, re.MULTILINE))
    assert named == there_are


def test_the_readme_names_the_default_ports():
    settings = Settings.model_construct()
    for address in (settings.receiver.otlp_grpc, settings.receiver.otlp_http, settings.http.listen):
        assert address in README


def test_the_picture_of_the_readme_is_light():
    assert (DOCS / "images" / "first-page.png").stat().st_size < 300_000


def test_the_code_refers_to_decisions_and_sections_that_there_are():
    decisions = set(re.findall(r"^### (\d+)\. ", ARCHITECTURE, re.MULTILINE))
    sections = set(re.findall(r"^##+ (.+)$", ARCHITECTURE, re.MULTILINE))
    for path in [ROOT / "pyproject.toml", *(ROOT / "traced").rglob("*.py"), *(ROOT / "queries").rglob("*.sql")]:
        text = path.read_text(encoding="utf-8")
        assert set(re.findall(r"ARCHITECTURE\.md, decision (\d+)", text)) <= decisions, path
        assert set(re.findall(r'ARCHITECTURE\.md, "([^"]+)"', text)) <= sections, path


def test_decisions_are_numbered_without_a_gap():
    numbers = [int(n) for n in re.findall(r"^### (\d+)\. ", ARCHITECTURE, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_every_room_stands_in_the_table_of_rooms():
    rooms = {path.name for path in (ROOT / "traced").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    named = set(re.findall(r"^\| \d+ \| `([a-z_.]+)/?` \|", ARCHITECTURE, re.MULTILINE))
    assert named == rooms - {"__init__.py", "__main__.py"}


def test_every_dependency_has_its_reason():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    names = {re.split(r"[><=!\[ ]", one)[0] for one in wanted}
    table = ARCHITECTURE.partition("## Dependencies")[2].partition("\n## ")[0]
    assert names == set(re.findall(r"`([A-Za-z0-9-]+)`", "\n".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))))


def test_the_changelog_speaks_of_this_version():
    assert f"## [{traced.__version__}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
