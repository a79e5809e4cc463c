"""The relay: a replica of one server and the primary of another, that translates what passes through it."""
