"""An hour of mixed traffic on three replicas: `python3 scripts/soak.py`. Takes the arguments of `benchmarks/soak.py`."""

import bootstrap

if __name__ == "__main__":
    bootstrap.main("test", "-m", "benchmarks.soak")
