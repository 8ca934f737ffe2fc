"""Audits: one pass over stored traffic that returns findings and follow-up calls."""
