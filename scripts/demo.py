"""Show the main job from a fresh clone: `python3 scripts/demo.py`, with `reflexio-mcp demo`'s own options."""

import bootstrap

if __name__ == "__main__":
    bootstrap.main("run", "-m", "reflexio_mcp", "demo")
