#!/usr/bin/env bash
# Build the wheel, install it into a fresh environment away from the checkout, and use it there on a file. Build the source distribution
# too, and run those tests from it that read the files beside the code.
#   test_wheel.sh PYTHON BUILD_PYTHON
set -euo pipefail
python=$1
checkout=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "$checkout" && cd "$(dirname "$2")" && pwd)/$(basename "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$build" -m pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir "$work" "$checkout"
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip --disable-pip-version-check install --quiet "$work"/traced-*.whl
cp "$checkout/tests/wheel/two_services.jsonl" "$work/input.jsonl"
cd "$work"
answer=$("$work/venv/bin/traced" analyze input.jsonl --format json)
printf '%s\n' "$answer" | "$work/venv/bin/python" -c '
import json, sys
import traced
answer = json.load(sys.stdin)
assert "site-packages" in traced.__file__, traced.__file__
assert answer["input"]["spans"] == 3, answer["input"]
edges = {(e["client"], e["server"], e["calls"]) for e in answer["service_graph"]["edges"]}
assert ("web", "cart", 1) in edges, edges
assert {f["id"] for f in answer["findings"]} == {"orphan_span", "root_client_span"}, answer["findings"]
'
"$work/venv/bin/traced" explain orphan_span > /dev/null
"$work/venv/bin/traced" --version
echo "the built wheel works away from the checkout"

"$python" -m venv "$work/builder"
"$work/builder/bin/python" -m pip --disable-pip-version-check install --quiet hatchling
(cd "$checkout" && "$work/builder/bin/python" -m hatchling build --target sdist --directory "$work/sdist" > /dev/null)
tar -C "$work/sdist" -xf "$work"/sdist/traced-*.tar.gz
cd "$work"/sdist/traced-*/
"$build" -c 'import traced; assert traced.__file__.startswith("'"$PWD"'"), traced.__file__'
"$build" -m pytest -q -p no:cacheprovider tests/documentation tests/laws
echo "the tests pass from the source distribution"
