"""The MCP face: each tool a thin function with its description, schemas and hints."""
