"""Who may ask what of a supervisor over the network, and which files admit anybody."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from holdfast.supervisor.admission import (
    CONTROLLER,
    Admission,
    AdmissionInvalid,
    caller_of,
    keep,
    kept,
    name_of,
)
from holdfast.supervisor.listening import may_ask

ADMISSION = Admission("shop", "left", "10.0.0.1", 7800, "ca", "cert", "key")


@pytest.mark.parametrize(
    ("path", "controller", "machine"),
    [
        ("/v1/host", True, False),
        ("/v1/engines", True, False),
        ("/v1/nodes/shop", True, False),
        ("/v1/nodes/shop/n1/start", True, False),
        ("/v1/watches/shop", True, False),
        ("/v1/nodes", False, False),
        ("/v1/nodes/other", False, False),
        ("/v1/nodes/other/n1/start", False, False),
        ("/v1/nodes/shop/../other", False, False),
        ("/v1/nodes//shop", False, False),
        ("/v1/leave", False, False),
        ("/v2/host", False, False),
        ("/host", False, False),
        ("", False, False),
        ("/v1/beats/shop", False, True),
        ("/v1/votes/shop", False, True),
        ("/v1/beats/other", False, False),
        ("/v1/beats/shop/n1", False, False),
    ],
)
def test_a_controller_has_its_cache_and_a_machine_its_voice(
    path: str, *, controller: bool, machine: bool
) -> None:
    assert may_ask(CONTROLLER, "shop", path) is controller
    assert may_ask("left", "shop", path) is machine
    assert not may_ask("", "shop", path)


def test_only_names_of_our_own_making_say_who_somebody_is() -> None:
    assert caller_of({"10.0.0.1", name_of("left")}) == "left"
    assert caller_of({CONTROLLER}) == CONTROLLER
    assert caller_of({"n1", "left", "controller"}) == ""
    assert caller_of({name_of("left"), name_of("right")}) == ""
    assert caller_of(set()) == ""


def test_an_invitation_comes_back_as_it_went_and_shows_no_key(tmp_path: Path) -> None:
    assert Admission.from_json("x", ADMISSION.to_json()) == ADMISSION
    assert "key" not in repr(ADMISSION).partition("cert_pem")[2].partition("'cert'")[2]
    folder = keep(tmp_path, ADMISSION)
    assert all(file.stat().st_mode & 0o077 == 0 for file in folder.iterdir())
    (tmp_path / "admissions" / "broken").mkdir()
    (tmp_path / "admissions" / "broken" / "admission.json").write_text("{}")
    assert kept(tmp_path) == {"shop": ADMISSION}


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{}", '{"format": 2}', ADMISSION.to_json()[:-20], "\x00", "9" * 5000,
     json.dumps({**json.loads(ADMISSION.to_json()), "port": "7800"}),
     json.dumps({**json.loads(ADMISSION.to_json()), "cache": ""}),
     json.dumps({**json.loads(ADMISSION.to_json()), "cache": "../../etc"}),
     json.dumps({**json.loads(ADMISSION.to_json()), "more": 1})],
)  # fmt: skip
def test_what_is_no_invitation_admits_nobody(text: str) -> None:
    with pytest.raises(AdmissionInvalid, match="invite"):
        Admission.from_json("x", text)
