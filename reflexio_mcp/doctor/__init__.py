"""Saying what is wrong with a set-up, why, and the one thing to do about it."""
