"""Everything that outlives a call: the hourly cap, deletions with receipts, recovery copies and the audit log."""
