"""Print the figures beside their targets: `python3 scripts/bench.py`. Takes the arguments of `benchmarks/run.py`."""

import bootstrap

if __name__ == "__main__":
    bootstrap.main("test", "-m", "benchmarks.run")
