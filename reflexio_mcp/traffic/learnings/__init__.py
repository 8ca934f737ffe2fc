"""What Reflexio learned, which interactions each learning came from, and deleting learnings.

Reflexio learns from a window of a user's interactions, which can span several requests and sessions. A profile lists
every interaction of its windows, and a user playbook lists those that it cites. `generated_from_request_id` names only
the request that closed the window.
"""
