"""The typed client for Reflexio's REST API. Knows HTTP and the contract, nothing of MCP."""
