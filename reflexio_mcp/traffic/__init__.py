"""Async functions for stored requests, independent of MCP.

Every function may raise `ReflexioError` as the client does.
"""
