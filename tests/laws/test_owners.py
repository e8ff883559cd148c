"""Each outside library has its owner: the contracts, the table of rooms and the dependencies say the same."""

import ast
import re
import tomllib

from laws.screen import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
IMPORTED_AS = {"grpcio": "grpc", "protobuf": "google", "pyyaml": "yaml"}
"""Where a library is not imported by its name."""


def module(library: str) -> str:
    """Give the name by which a library is imported."""
    return "opentelemetry" if library.startswith("opentelemetry-") else IMPORTED_AS.get(library, library.replace("-", "_"))


def rooms() -> set[str]:
    """Name all rooms."""
    paths = (ROOT / "traced").iterdir()
    return {path.stem for path in paths if path.suffix == ".py" or (path / "__init__.py").exists()} - {"__init__", "__main__"}


def owners() -> dict[str, set[str]]:
    """Give the rooms that may import a module, by the contracts."""
    contracts = [one for one in PROJECT["tool"]["importlinter"]["contracts"] if re.search(r" belongs? to ", one["name"])]
    return {name: rooms() - {source.removeprefix("traced.") for source in one["source_modules"]} for one in contracts for name in one["forbidden_modules"]}


def without_owner() -> set[str]:
    """Give the libraries of which ARCHITECTURE.md says that they have no owner."""
    paragraph = re.search(r"^Three libraries have no owner\.(.*?)\n\n", ARCHITECTURE, re.MULTILINE | re.DOTALL)
    assert paragraph
    return set(re.findall(r"`(\w+)`", paragraph[1]))


def test_the_table_of_rooms_names_the_owners_that_the_contracts_know():
    rows = re.findall(r"^\| \d+ \| `([a-z_]+)(?:\.py|/)?` \| [^|]+ \|([^|]*)\|$", ARCHITECTURE, re.MULTILINE)
    libraries = {library.partition(">")[0] for library in dependencies()}
    said: dict[str, set[str]] = {}
    for room, text in rows:
        for library in libraries & set(re.findall(r"[a-z0-9-]+", text)):
            said.setdefault(module(library), set()).add(room)
    assert {room for room, _ in rows} == rooms()
    assert said == owners()


def test_every_dependency_has_an_owner_or_is_said_to_have_none():
    assert len(without_owner()) == 3
    assert {module(library) for library in dependencies()} == set(owners()) | without_owner()
    assert set(owners()).isdisjoint(without_owner())


def dependencies() -> set[str]:
    """Name the libraries that the program uses, with the demo's."""
    project = PROJECT["project"]
    return {re.split(r"[><=]", one)[0] for one in (*project["dependencies"], *project["optional-dependencies"]["demo"])}


def test_of_opentelemetry_only_the_protobuf_classes_are_used_outside_the_demo():
    # import-linter does not tell the parts of an outside package from one another
    for room, part in (("receiver", True), ("demo", False)):
        names = {name for path in (ROOT / "traced" / room).glob("*.py") for name in imported(path.read_text(encoding="utf-8"))}
        of_it = {name for name in names if name.startswith("opentelemetry")}
        assert of_it
        assert {name.startswith("opentelemetry.proto.") for name in of_it} == {part}


def test_logging_is_set_up_by_the_command_line_only():
    assert [str(path.relative_to(ROOT)) for path in (ROOT / "traced").rglob("*.py") if "structlog.configure(" in path.read_text(encoding="utf-8")] == [
        "traced/cli/logs.py",
    ]


def imported(text: str) -> set[str]:
    """Name the modules that a file imports from."""
    nodes = list(ast.walk(ast.parse(text)))
    from_ = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return from_ | {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
