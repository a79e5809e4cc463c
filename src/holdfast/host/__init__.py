"""One machine: what it offers a cache, and the firewall in front of it."""
