"""The limits of house style that no linter knows."""

from collections import Counter
from pathlib import Path

from laws.screen import ROOT, too_long


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
