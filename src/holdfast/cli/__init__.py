"""The command line: parse, call, show; never decide."""
