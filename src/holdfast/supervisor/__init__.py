"""The parent of one machine's nodes, alone in a process of its own, and how to talk to it."""
