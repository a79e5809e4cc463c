"""Whether an engine can load a function library: one that it cannot ends a server that meets it in an RDB. Pure."""

from __future__ import annotations

import re

from holdfast.codec.rdb.dialect import Dialect, Family

_ENGINE = re.compile(rb"#!\s*([^\s]*)")
_TOKEN = re.compile(rb"(?:--)?\[(=*)\[|--|['\"]|(?<![\w.:])server\s*[.\[]")
"""A long bracket, a comment, a string, or what Valkey 8.0 and later have beside `redis`: elsewhere a name that nobody has set
is an error at once."""
_STRING_ENDS = {
    b"'": re.compile(rb"(?:\\.|[^\\'])*'", re.DOTALL),
    b'"': re.compile(rb'(?:\\.|[^\\"])*"', re.DOTALL),
}


def can_load(library: bytes, dialect: Dialect) -> bool:
    """Whether an engine of that dialect loads the library, as far as its text tells. Args: `library`, its source.

    Sources: functionsCreateWithLibraryCtx in src/functions.c, and the loading of Redis 8.0.2, which ended itself at a library
    of Valkey's ("Script attempted to access nonexistent global variable 'server'").
    """
    named = _ENGINE.match(library)
    if named is None or named[1].lower() != b"lua":
        return False
    has_server = dialect.family is Family.VALKEY and dialect.name != "valkey-7.2"
    return has_server or not _names_server(library)


def _names_server(library: bytes) -> bool:
    """Whether it stands in the code, outside of comments and strings; in time that grows as the text does."""
    at = 0
    while at >= 0 and (found := _TOKEN.search(library, at)) is not None:
        word = found[0]
        if found[1] is not None:
            closing = b"]%b]" % found[1]
            end = library.find(closing, found.end())
            at = end + len(closing) if end >= 0 else -1
        elif word == b"--":
            at = library.find(b"\n", found.end())
        elif word in _STRING_ENDS:
            closed = _STRING_ENDS[word].match(library, found.end())
            at = closed.end() if closed else -1
        else:
            return True
    return False
