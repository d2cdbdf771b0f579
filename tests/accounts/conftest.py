import pytest

from homeserver.storage.pool import Database
from tests.accounts.workers import House, Worker


@pytest.fixture
def house(database: Database) -> House:
    return House(database)


@pytest.fixture
def worker(house: House) -> Worker:
    """One process of the house."""
    return house.worker()


@pytest.fixture
def other(house: House, worker: Worker) -> Worker:
    """Another one beside it, on the same host."""
    return house.worker()
