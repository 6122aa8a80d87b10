"""How long ``import lstmcore`` takes beside ``import numpy``: fresh interpreters, taking turns.

    python benchmarks/import_time.py [--rounds 15]

The target is a ratio of at most 1.5. The cost of the interpreter itself is in both.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

STATEMENTS = {
    "import numpy": "import numpy",
    "import lstmcore": "import lstmcore",
    "... and list the backends": "import lstmcore; lstmcore.backends()",
    "... and import models and layers": "import lstmcore.models, lstmcore.layers",
}


def seconds(statement: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    for statement in STATEMENTS.values():
        seconds(statement)  # fills the file caches
    times = [{name: seconds(statement) for name, statement in STATEMENTS.items()} for _ in range(rounds)]
    for name in STATEMENTS:
        own = sorted(turn[name] for turn in times)
        ratio = sorted(turn[name] / turn["import numpy"] for turn in times)
        print(
            f"{name:34s} {statistics.median(own) * 1000:6.0f} ms ({own[0] * 1000:.0f} to {own[-1] * 1000:.0f})"
            f"   ratio {statistics.median(ratio):.2f} ({ratio[0]:.2f} to {ratio[-1]:.2f})"
        )


if __name__ == "__main__":
    main()
