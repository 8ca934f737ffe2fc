"""Finding and deleting what Reflexio learned.

Reflexio learns from a window of a user's interactions, which can span several requests and sessions. A profile lists
every interaction of its windows, and a user playbook lists the interactions that it cites.
"""
