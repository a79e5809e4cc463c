"""The bytes of the engines' formats and protocol. Pure; the only compiled code."""
