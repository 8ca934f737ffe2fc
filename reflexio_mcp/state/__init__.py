"""What outlives a call or a process."""
