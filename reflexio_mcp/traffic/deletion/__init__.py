"""Deletion: plan, plan code, act, verify, restore."""
