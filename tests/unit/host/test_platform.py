"""Which verbs work where."""

from __future__ import annotations

import pytest

from holdfast.host.platform import EVERYWHERE, PlatformUnsupported, refuse_unsupported


@pytest.mark.parametrize("verb", ["up", "down", "doctor", "engines", "status", "backup"])
def test_on_macos_a_verb_that_runs_servers_refuses_in_one_sentence(verb: str) -> None:
    with pytest.raises(PlatformUnsupported) as refused:
        refuse_unsupported("darwin", verb)
    sentence = str(refused.value)
    assert sentence.startswith(f"holdfast {verb} runs on Linux only and this is macOS: nothing was done")
    assert "\n" not in sentence


@pytest.mark.parametrize("verb", sorted(EVERYWHERE))
def test_what_only_reads_and_writes_text_works_everywhere(verb: str) -> None:
    refuse_unsupported("darwin", verb)


def test_help_works_everywhere_and_linux_takes_all() -> None:
    refuse_unsupported("darwin", "")
    refuse_unsupported("linux", "up")
