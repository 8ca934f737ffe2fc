"""Run the tests from a fresh clone: `python3 scripts/test.py`.

Without arguments it runs, in parallel, all tests that need neither minutes nor other programs. `--all` adds those.
Other arguments go to pytest as they are, for example `python3 scripts/test.py -x tests/store`.
"""

import os
import sys

import bootstrap

if __name__ == "__main__":
    # The tests start the server often, and each start would compile the package again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    arguments = sys.argv[1:]
    del sys.argv[1:]
    if not arguments:
        arguments = ["-q", "-n", "auto", "--dist", "loadgroup", "-m", "not ci and not live"]
    elif arguments == ["--all"]:
        arguments = ["-q", "-n", "auto", "--dist", "loadgroup"]
    bootstrap.main("test", "-m", "pytest", *arguments)
