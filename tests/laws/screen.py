"""Functions fit on a screen: none over 60 lines, no file over 400. Run by `make laws` and by the tests."""

import ast
import sys
from pathlib import Path

MAX_FUNCTION_LINES = 60
MAX_FILE_LINES = 400
ROOT = Path(__file__).resolve().parents[2]


def too_long(root: Path) -> list[str]:
    """Name every function and file over the limit below a folder."""
    found = []
    for path in sorted(root.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        lines = text.count("\n")
        if lines > MAX_FILE_LINES:
            found.append(f"{path}: {lines} lines")
        found.extend(
            f"{path}:{node.lineno}: {node.name} has {node.end_lineno - node.lineno + 1} lines"
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno and node.end_lineno - node.lineno + 1 > MAX_FUNCTION_LINES
        )
    return found


if __name__ == "__main__":
    problems = too_long(ROOT / "traced")
    sys.stdout.write("".join(f"{line}\n" for line in problems))
    sys.exit(1 if problems else 0)
