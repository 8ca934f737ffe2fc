"""Asks a person before a deletion."""
