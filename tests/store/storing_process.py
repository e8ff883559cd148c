"""A process that stores batches and says which were acknowledged: for tests that kill it or make its system calls fail.

python storing_process.py DATA_DIR BATCHES [SETTING=NUMBER ...]  →  a line `acked N` for each, `refused REASON` in between, `done` at the end
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from store_parts import make_batch, open_store

from traced.errors import OverloadedError


def main() -> None:
    """Store, and print after each acknowledgement."""
    data_dir, batches, *settings = sys.argv[1:]
    changes = {name: float(value) for name, _, value in (s.partition("=") for s in settings)}
    with open_store(Path(data_dir), **changes) as store:
        sys.stdout.write("open\n")
        for number in range(1, int(batches) + 1):
            while True:
                sys.stdout.flush()
                try:
                    store.accept(make_batch(number)).result(20)
                except OverloadedError as error:
                    sys.stdout.write(f"refused {error.reason}\n")
                    time.sleep(0.1)
                else:
                    break
            sys.stdout.write(f"acked {number}\n")
        sys.stdout.write("done\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
