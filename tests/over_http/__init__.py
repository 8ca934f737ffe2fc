"""The shared server over HTTP."""
