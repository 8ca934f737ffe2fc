"""The explorer: a page that shows stored traffic, and the document it is served as."""
