"""What outlives a call: the hourly cap, deletions with their receipts, recovery copies and the audit log."""
