"""What a host sees on the wire: real processes, raw lines, the official schemas."""
