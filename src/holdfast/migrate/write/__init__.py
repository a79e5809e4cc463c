"""The writing way of a migration: any number of sources' snapshots and streams into any target, each write exactly once."""
