"""Print each figure beside its target: `python3 scripts/bench.py [NAME ...]`.

The figures are ratios within one run, so that the machine matters little. Exits 1 if a target is not met.
"""

import argparse
import importlib
import sys

from benchmarks.figures import told

BENCHMARKS = {
    "starting": "start and memory against a bare SDK server",
    "over_http": "calls a second over HTTP against a bare server that forwards them",
    "scanning": "processor time that looking for secrets takes",
    "audit": "an audit of 100,000 requests against reading the same rows",
    "searching": "searches of 250,000 requests, of long ones, and beside busy loops",
    "explorer": "the explorer's page over 50,000 requests, in Chromium",
    "explorer_job": "the explorer's page deletes 50,000 requests and takes them back (a quarter of an hour)",
    "shares": "what three callers wait for while a fourth does each of 18 kinds of call (an hour)",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; default: all")
    options = parser.parse_args()
    if unknown := set(options.names) - BENCHMARKS.keys():
        parser.error(f"no benchmark named {', '.join(sorted(unknown))}: there are {', '.join(BENCHMARKS)}")
    met = True
    for name in options.names or BENCHMARKS:
        print(f"{name}: {BENCHMARKS[name]} ...", flush=True)
        for figure in importlib.import_module(f"benchmarks.{name}").measure():
            print(told(figure), flush=True)
            met &= figure.met
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
