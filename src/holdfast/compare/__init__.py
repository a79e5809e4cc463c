"""Two keyspaces, compared key by key, both ways, while they are written to."""
