"""Installing into clients."""
