"""The MCP server: wiring, middleware, callers, resources, prompts and completions."""
