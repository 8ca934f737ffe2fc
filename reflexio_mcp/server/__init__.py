"""The MCP server: wiring, callers, limits, resources, prompts and completions."""
