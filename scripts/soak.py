"""An hour of mixed traffic on three replicas: `python3 scripts/soak.py`. Arguments: see `benchmarks/soak.py`."""

import bootstrap

if __name__ == "__main__":
    bootstrap.main("test", "-m", "benchmarks.soak")
