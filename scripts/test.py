"""Run the tests from a fresh clone: `python3 scripts/test.py`. Takes the arguments of pytest."""

import bootstrap

if __name__ == "__main__":
    bootstrap.main("test", "-m", "pytest")
