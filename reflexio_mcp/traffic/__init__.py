"""What a memory janitor does, in plain async functions over the client. Knows nothing of MCP."""
