"""Everything done with stored requests, in async functions that know nothing of MCP.

Every function may raise `ReflexioError` as the client does.
"""
