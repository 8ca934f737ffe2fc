"""Results as compact text."""
