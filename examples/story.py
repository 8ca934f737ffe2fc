"""What the scripted model of every example does, so that an example runs without a network or a key.

It stores an interaction, asks for the session's deletion, confirms it with the code of the plan that it was shown,
looks again, and reports. A real model decides the same by itself: give its name to an example on the command line.
"""

import os
import re
from typing import Any

QUESTION = "Remember that I cannot eat peanuts. No, wait: forget this conversation again."
WHO = {"user_id": "ada", "session_id": "dinner"}

COMMAND = os.environ.get("REFLEXIO_EXAMPLE_COMMAND", "reflexio-mcp")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name.startswith("REFLEXIO_")}
"""The server gets its own variables, and `preview`: these frameworks have no form to ask a person with."""
ENVIRONMENT["REFLEXIO_MCP_CONFIRM"] = "preview"
ENVIRONMENT.setdefault("REFLEXIO_MCP_STORE", ":memory:")
ENVIRONMENT.setdefault("REFLEXIO_MCP_LOG_LEVEL", "WARNING")


def next_call(results: list[str]) -> tuple[str, dict[str, Any]] | str:
    """The scripted model's next tool call, or its last words, from the results it has been given so far."""
    match len(results):
        case 0:
            interactions = [{"role": "User", "content": "I cannot eat peanuts."}]
            return "publish_interaction", {**WHO, "interactions": interactions, "source": "example"}
        case 1:
            return "delete_session", {"session_id": WHO["session_id"]}
        case 2:
            code = re.search(r"confirm\W+(\d+-\w+)", results[1])
            assert code, f"the plan has no code: {results[1]}"
            return "delete_session", {"session_id": WHO["session_id"], "confirm": code.group(1)}
        case 3:
            return "list_requests", {"session_id": WHO["session_id"]}
        case _:
            return f"It is forgotten. {results[2]}"


def check(said: str) -> None:
    """Fail unless the last words carry the receipt."""
    assert "1 request with 1 interaction deleted" in said or '"status":"complete"' in said.replace(" ", ""), (
        said
    )
    print(said)
