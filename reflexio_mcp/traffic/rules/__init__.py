"""The audit's detectors and the table that declares them."""
