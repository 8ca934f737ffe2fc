"""Run the tests from a fresh clone: `python3 scripts/test.py`.

Without arguments it runs all of them, in parallel. Arguments go to pytest as they are, for example
`python3 scripts/test.py -x tests/store`.
"""

import os
import sys

import bootstrap

if __name__ == "__main__":
    # The tests start the server hundreds of times, and each start would compile the package again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    parallel = () if sys.argv[1:] else ("-n", "auto", "--dist", "loadgroup")
    bootstrap.main("test", "-m", "pytest", *parallel)
