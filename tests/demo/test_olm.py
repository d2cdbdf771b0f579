import pytest

from homeserver.demo.attachments import decrypt, encrypt
from homeserver.demo.olm import CannotDecryptError, Device, Json, is_cross_signed

ROOM = "!room:example.org"


def first_key(device: Device) -> str:
    return str(next(iter(device.one_time_keys().values()))["key"])


def cross_signed(device: Device) -> tuple[Json, Json, Json]:
    keys = device.cross_signing_keys()
    signed = device.own_signature()[device.user_id][device.device_id]
    return signed, keys["master_key"], keys["self_signing_key"]


def test_a_room_key_reaches_another_device() -> None:
    ann, bob = Device("@ann:a.test", "A"), Device("@bob:b.test", "B")
    sent = ann.encrypt_olm(bob.device_keys(), first_key(bob), "m.room_key", ann.new_room_key(ROOM))
    message = ann.encrypt(ROOM, "m.room.message", {"body": "hello"})
    with pytest.raises(CannotDecryptError):
        bob.decrypt(message)
    bob.receive_olm(sent)
    assert bob.decrypt(message)["content"] == {"body": "hello"}


def test_cross_signing() -> None:
    ann, eve = Device("@ann:a.test", "A"), Device("@ann:a.test", "A")
    device, master, self_signing = cross_signed(ann)
    assert is_cross_signed(device, master, self_signing)
    other, other_master, other_self_signing = cross_signed(eve)
    assert not is_cross_signed(other, master, self_signing)
    assert not is_cross_signed(other, master, other_self_signing)
    assert is_cross_signed(other, other_master, other_self_signing)


def test_a_file_comes_back_unless_it_was_changed() -> None:
    encrypted, file = encrypt(b"the map")
    assert b"the map" not in encrypted
    assert decrypt(encrypted, file) == b"the map"
    with pytest.raises(ValueError, match="not what"):
        decrypt(encrypted + b"x", file)
