"""The state in files of this machine, shared by all processes of one user."""
