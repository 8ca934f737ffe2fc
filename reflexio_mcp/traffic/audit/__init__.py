"""Audits: one streaming pass from stored traffic to findings and the calls that follow."""
