"""Finding and listing what is stored."""
