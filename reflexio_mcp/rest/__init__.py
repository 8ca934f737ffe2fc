"""The typed client for Reflexio's REST API, which knows nothing of MCP."""
