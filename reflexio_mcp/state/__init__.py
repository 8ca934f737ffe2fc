"""What outlives a call: the hourly cap, promised deletions and their receipts, recovery copies and the audit log.

The rules are written once, in this folder. `local/` keeps what they note in files of this machine, `postgresql/` in a
database that replicas share.
"""
