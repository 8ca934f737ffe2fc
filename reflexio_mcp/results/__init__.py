"""What tools answer with: one module for each kind of result."""
