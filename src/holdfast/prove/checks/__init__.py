"""The experiments: each module runs those of one family and measures; it judges nothing."""
