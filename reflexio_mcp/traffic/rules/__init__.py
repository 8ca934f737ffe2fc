"""The audit's detectors and the catalog that declares them."""
