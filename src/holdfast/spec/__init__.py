"""What a cache should be: models, units, loading, merging and advice. Pure."""
