"""The limits of house style that no linter knows."""

from collections import Counter
from pathlib import Path

from laws.screen import ROOT, too_long

SHIPPED = {"traced": {".py", ".html", ".css", ".js", ".svg"}, "queries": {".sql", "_order"}}
"""What the wheel carries: by folder the suffixes of its files, or the whole name of one that has none."""


def test_functions_and_files_fit_on_a_screen():
    assert too_long(ROOT / "traced") == []


def test_a_long_function_is_found(tmp_path: Path):
    (tmp_path / "long.py").write_text("def f():\n" + "    x = 1\n" * 61)
    assert len(too_long(tmp_path)) == 1


def test_no_two_test_modules_have_one_name():
    """Without packages pytest imports them by name alone, and a second one of the same name stops the whole run."""
    # a package's own file is imported by the package's name
    names = Counter(path.name for path in (ROOT / "tests").rglob("*.py") if path.name not in {"conftest.py", "__init__.py"})
    assert [name for name, times in names.items() if times > 1] == []


def test_nothing_lies_in_the_package_that_is_no_part_of_it():
    """All of both folders is in the wheel, so what a trial run left behind would be shipped."""
    for folder, known in SHIPPED.items():
        files = [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        assert [str(path.relative_to(ROOT)) for path in files if (path.suffix or path.name) not in known] == []
        assert {path.suffix or path.name for path in files} == known
