from pathlib import Path

import pytest

from homeserver.peers.signing_keys import SigningKeyError, load_old, load_or_make, rotate


def test_a_key_is_made_once(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "signing.key"
    key = load_or_make(file)
    assert load_or_make(file) == key
    assert file.stat().st_mode & 0o777 == 0o600
    assert key.key_id.startswith("ed25519:a_")
    assert list(file.parent.iterdir()) == [file]


def test_the_form_of_other_homeservers(tmp_path: Path) -> None:
    file = tmp_path / "signing.key"
    file.write_text("ed25519 a_AbCd AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n")
    assert load_or_make(file).key_id == "ed25519:a_AbCd"


@pytest.mark.parametrize("text", ["", "ed25519 a_x", "rsa 1 AAAA", "ed25519 a !!", "ed25519 a AA"])
def test_anything_else_is_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "signing.key"
    file.write_text(text)
    with pytest.raises(SigningKeyError, match=r"signing\.key holds no signing key"):
        load_or_make(file)
    assert file.read_text() == text


def test_the_old_one_is_kept_as_such(tmp_path: Path) -> None:
    file = tmp_path / "signing.key"
    first = load_or_make(file)
    assert load_old(file) == ()
    second = rotate(file, 1000)
    third = rotate(file, 2000)
    assert load_or_make(file) == third
    assert len({first.key_id, second.key_id, third.key_id}) == 3
    told = [(old.key_id, bytes(old.key), old.expired_ts) for old in load_old(file)]
    assert told == [
        (first.key_id, bytes(first.verify_key), 1000),
        (second.key_id, bytes(second.verify_key), 2000),
    ]
    assert all(one.stat().st_mode & 0o777 == 0o600 for one in tmp_path.iterdir())
    assert len([*tmp_path.iterdir()]) == 2


def test_what_is_no_old_key_is_told(tmp_path: Path) -> None:
    file = tmp_path / "signing.key"
    load_or_make(file)
    (tmp_path / "signing.key.old").write_text("ed25519:a_x AAAA\n")
    with pytest.raises(SigningKeyError, match=r"signing\.key\.old"):
        rotate(file, 1)
