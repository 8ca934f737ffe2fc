"""What outlives a call: the hourly cap, recovery copies and the audit log."""
