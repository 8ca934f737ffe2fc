"""Results as compact text and as structured content that carry the same facts."""
