"""What Reflexio learned, from which interactions, and taking it back.

Reflexio learns from a window of a user's interactions, which can span several requests and sessions. A profile lists
every interaction of its windows and a user playbook the ones it cites. `generated_from_request_id` names only the
request that closed the window, so nothing here goes by it where interactions are listed.
"""
