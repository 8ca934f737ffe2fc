"""How a tool is made."""
