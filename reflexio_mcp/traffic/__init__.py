"""What a memory janitor does, in plain async functions over the client. Knows nothing of MCP.

Whatever asks the service raises `ReflexioError` as the client does. A docstring names it only where it says more.
"""
