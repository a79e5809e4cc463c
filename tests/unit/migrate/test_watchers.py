"""Sentinels among a server's clients, and what they say: only a Sentinel's own address is believed."""

from __future__ import annotations

import pytest

from holdfast.migrate.watchers import Watcher, listening, read_hello

CLIENTS = """id=3 addr=10.0.0.7:45678 laddr=10.0.0.5:6379 fd=8 name=sentinel-5f2c11aa-pubsub age=3 sub=1 lib-name= resp=2
id=4 addr=[::1]:45679 fd=9 name=sentinel-00ff00ff-pubsub age=3
id=5 addr=10.0.0.9:1 fd=9 name=app age=3
id=6 addr=10.0.0.9:2 name=sentinel-5f2c11ag-pubsub
id=7 addr=10.0.0.9:2 name=sentinel-5f2c11aa-cmd
garbage"""
RUN = "5f2c11aa" + "0" * 32


def test_sentinels_are_known_by_the_names_of_their_connections() -> None:
    assert listening(CLIENTS) == {"5f2c11aa": "10.0.0.7", "00ff00ff": "[::1]"}
    assert listening("") == {}


def test_a_sentinel_says_where_it_is() -> None:
    said = f"10.0.0.7,26379,{RUN},4,cart,10.0.0.5,6379,2".encode()
    assert read_hello(said, listening(CLIENTS)) == ("5f2c11aa", Watcher(("10.0.0.7", 26379), "cart"))


@pytest.mark.parametrize(
    "said",
    [
        f"10.0.0.66,26379,{RUN},4,cart,10.0.0.5,6379,2",  # another host than the one that it comes from
        f"10.0.0.7,26379,{'1' * 40},4,cart,10.0.0.5,6379,2",  # nobody who listens
        f"10.0.0.7,0,{RUN},4,cart,10.0.0.5,6379,2",
        f"10.0.0.7,65536,{RUN},4,cart,10.0.0.5,6379,2",
        f"10.0.0.7,x,{RUN},4,cart,10.0.0.5,6379,2",
        f"10.0.0.7,26379,{RUN},4,,10.0.0.5,6379,2",
        f"10.0.0.7,26379,{RUN},4",
        "",
        "\udcff,,,,,",
    ],
)
def test_what_anybody_else_says_is_not_believed(said: str) -> None:
    assert read_hello(said.encode(errors="surrogateescape"), listening(CLIENTS)) is None
