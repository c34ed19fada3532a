"""All benchmarks that need nothing but this machine, one after the other: `python -m bench [NAME ...]`.

Long ones and those that need data or servers are run by hand: `python -m bench.retrieval CORPUS QUESTIONS`.
"""

from __future__ import annotations

import subprocess
import sys

QUICK = {
    "embeddings": ["--rounds", "3"],
    "store": ["10000", "50000"],
    "ingest": ["--mb", "5", "--embed-kb", "60", "--memory-mb", "16"],
    "faq": [],
    "telegram": ["--updates", "300"],
    "load": ["--people", "200", "--questions", "1"],
}
"""Module below `bench` to its arguments for a short run."""


def main() -> None:
    """Run the named ones, or all; stop at the first that fails."""
    wanted = sys.argv[1:] or list(QUICK)
    if unknown := sorted(set(wanted) - set(QUICK)):
        sys.exit(f"no such benchmark: {', '.join(unknown)}; there is {', '.join(QUICK)}")
    for name in wanted:
        print(f"== {name}", flush=True)
        subprocess.run([sys.executable, "-m", f"bench.{name}", *QUICK[name]], check=True)


if __name__ == "__main__":
    main()
