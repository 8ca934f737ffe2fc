"""The embedded backend: Reflexio's API over one SQLite file, answered in this process."""
