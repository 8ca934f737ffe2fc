"""The state in a PostgreSQL database, shared by replicas."""
