"""What is made of what: from settings to the duties of one worker."""

from homeserver.app.houses import admin_house, client_house, server_house
from homeserver.app.making import (
    make_accounts,
    make_bridging,
    make_deliveries,
    make_encryption,
    make_federating,
    make_reading,
    make_rooms,
    make_writing,
)
from homeserver.app.making_sync import make_notifying, make_sliding_sync, make_syncing
from homeserver.app.parts import Base, Parts
from homeserver.peers.peers import Peers
from homeserver.push.rulesets import Rulesets
from homeserver.sync.activity import Activity


def assemble(base: Base) -> Parts:
    """Make all duties."""
    bridging = make_bridging(base)
    peers = Peers(base.settings, base.process, base.signing_key, base.old_keys)
    accounts = make_accounts(base, bridging, peers)
    rooms = make_rooms(base)
    federating = make_federating(base, rooms, peers)
    rulesets = Rulesets(base.process)
    writing = make_writing(base, accounts, rooms, federating, bridging, rulesets)
    reading = make_reading(base, rooms, federating)
    encryption = make_encryption(base, federating, bridging)
    activity = Activity(base.process, base.process.tail.position)
    syncing = make_syncing(base, reading, encryption, activity, rulesets)
    return Parts(
        encryption=encryption,
        bridging=bridging,
        deliveries=make_deliveries(base, bridging, reading),
        activity=activity,
        notifying=make_notifying(base, federating, reading, syncing.parts, rulesets),
        base=base,
        accounts=accounts,
        rooms=rooms,
        federating=federating,
        writing=writing,
        reading=reading,
        client_house=client_house(
            base,
            accounts,
            rooms,
            federating,
            writing,
            reading,
            encryption,
            bridging,
            syncing,
            rulesets,
            make_sliding_sync(syncing.parts),
        ),
        admin_house=admin_house(base, accounts, rooms, federating, writing, reading),
        server_house=server_house(base, accounts, rooms, federating, writing, reading, encryption),
    )
