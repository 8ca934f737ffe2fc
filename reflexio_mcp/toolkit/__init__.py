"""Building blocks of tools."""
