"""Says what is wrong with a set-up, why, and what to do."""
