"""Print each figure beside its target: `python3 scripts/bench.py [NAME ...]`.

Ratios within one run, so that the machine matters little. `--strict` exits 1 where a target is not met.
"""

import argparse
import importlib
import sys

from figures import Figure, table

BENCHMARKS = {
    "starting": "start and memory against a bare SDK server",
    "tokens": "cost of the tool list",
    "calls": "a tool call against the REST call behind it",
    "audit": "an audit of 100,000 requests against reading the same rows",
    "deletion": "2,000 deletions by filter against the raw API calls",
    "over_http": "calls a second over HTTP against a bare SDK server",
    "explorer": "the explorer's page in Chromium at 100, 1,000 and 10,000 requests, beside an empty page",
}


def main() -> int:
    parser = argparse.ArgumentParser(description="Print each figure beside its target.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--strict", action="store_true", help="exit 1 where a target is not met")
    options = parser.parse_args()
    if unknown := set(options.names) - BENCHMARKS.keys():
        parser.error(f"no benchmark named {', '.join(sorted(unknown))}: there are {', '.join(BENCHMARKS)}")
    figures: list[Figure] = []
    for name in options.names or BENCHMARKS:
        print(f"{name}: {BENCHMARKS[name]} ...", file=sys.stderr, flush=True)
        figures += importlib.import_module(name).measure()
    print(table(figures))
    return 1 if options.strict and not all(figure.met for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
