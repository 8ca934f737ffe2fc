"""How long what is garbage in cycles may wait in a process that serves."""

import subprocess
import sys

PROCESS = """
import gc
gc.disable()  # as the imports of a server leave it
from reflexio_mcp.server.runtime import tune_collector

alive = 0

class Call:
    def __init__(self):
        global alive
        alive += 1
        self.itself = self

    def __del__(self):
        global alive
        alive -= 1

tune_collector()
most = 0
for _ in range(60_000):
    Call()
    most = max(most, alive)

# What was in use at two collections is looked at by the rarest alone.
gc.collect()
calls = [Call() for _ in range(1_000)]
gc.collect(0)
gc.collect(1)
alive = len(calls)
calls.clear()
made = 0
while alive >= 1_000 and made < 2_000_000:
    kept = [[] for _ in range(1_000)]
    kept.append(kept)
    made += len(kept)
print(most, made)
"""


def test_garbage_does_not_wait_in_megabytes() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROCESS], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    most, made = map(int, done.stdout.split())
    assert most < 10_000
    assert made < 1_000_000
