"""RDB, the engines' snapshot format: every dialect of Redis 2.0 to 8.8 and Valkey 7.2 to 9.1, read and written.

`parser` gives events, `rewrite` turns one dialect's bytes into another's as they pass, `translate` says beforehand what
that keeps, changes and loses, `values` decodes a value on demand, `dump` reads and makes DUMP payloads.
"""
