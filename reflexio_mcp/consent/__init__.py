"""Who is asked before something is deleted, and how."""
