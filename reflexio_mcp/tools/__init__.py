"""Each tool is a thin function with its description, schemas and hints."""
