"""What a filter and the embedded store both look for: words in texts, and names of tests."""
