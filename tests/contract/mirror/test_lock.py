"""One mirror at a time, on both databases, also when the database drops the lock's connection."""

import threading

import pytest
from sqlalchemy import text

from hpsearch.store.mirroring import mirror_lock, read_mirror, write_mirror
from hpsearch.tracking.mirror import DONE, follow
from tests.contract.mirror.conftest import until


def _drop_connections(database):
    """End every session of the database but the one that asks, as a server's restart does."""
    with database.engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


# SQLite's lock is a file's, which no server can drop.
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def test_only_one_has_the_lock(database):
    """Whoever asks second waits until the first gives it back; another study is not concerned."""
    with mirror_lock(database, 1) as first, mirror_lock(database, 1) as second:
        assert first.take()
        assert first.take()
        assert not second.take()
        with mirror_lock(database, 2) as other:
            assert other.take()
        first.release()
        assert second.take()
        assert not first.take()
    with mirror_lock(database, 1) as later:
        assert later.take()


@on_postgresql
def test_a_dropped_lock_is_taken_again(database):
    """A lock whose connection was dropped is not believed in: it is taken anew."""
    with mirror_lock(database, 1) as lock, mirror_lock(database, 1) as second:
        assert lock.take()
        _drop_connections(database)
        assert lock.take()
        assert not second.take()


@on_postgresql
def test_a_dropped_lock_that_somebody_took_is_gone(database):
    """Two mirrors never both believe they are alone."""
    with mirror_lock(database, 1) as lock, mirror_lock(database, 1) as second:
        assert lock.take()
        _drop_connections(database)
        assert second.take()
        assert not lock.take()


@on_postgresql
def test_giving_back_a_dropped_lock_does_not_fail(database):
    """Leaving the block is quiet, whatever became of the connection."""
    with mirror_lock(database, 1) as lock:
        assert lock.take()
        _drop_connections(database)


class StoppedAtItsFirstRest(threading.Event):
    """Asks to stop as soon as somebody waits."""

    def wait(self, timeout=None):  # noqa: ARG002 - as the event's own
        self.set()
        return True


def test_a_mirror_without_the_lock_says_nothing(database, study, tmp_path):
    """The row is that of the mirror at work: who waits for it, and leaves, does not touch it."""
    write_mirror(database, study.id, "sqlite:///mlflow.db", 5, experiment_id="1", run_id="2")
    before, stop = read_mirror(database, study.id), StoppedAtItsFirstRest()
    tracking = f"sqlite:///{tmp_path / 'other.db'}"
    with mirror_lock(database, study.id) as lock:
        assert lock.take()
        assert follow(database.url, study.name, tracking, threading.Event(), stop) == DONE
    assert read_mirror(database, study.id) == before


@on_postgresql
def test_a_mirror_survives_dropped_connections(database, study, mlflow_copy):
    """A mirror whose connections are all dropped goes on, and ends with everything copied."""
    finish, stop, codes = threading.Event(), threading.Event(), []
    arguments = (database.url, study.name, mlflow_copy, finish, stop)
    thread = threading.Thread(target=lambda: codes.append(follow(*arguments)), daemon=True)
    thread.start()
    until(lambda: (row := read_mirror(database, study.id)) and row.run_id)
    _drop_connections(database)
    finish.set()
    thread.join(30)
    assert codes == [DONE]
    assert read_mirror(database, study.id).message is None
