"""What MLflow is asked, and what that must not cost."""

import pytest

from hpsearch.errors import TrackingError
from hpsearch.tracking import client
from hpsearch.tracking.inspection import known_experiments


def test_no_disk_is_filled_to_look_at_a_file(tmp_path, monkeypatch):
    """MLflow's file is copied to be asked; where that would fill the disk it is not."""
    file = tmp_path / "mlflow.db"
    file.write_bytes(bytes(2 << 20))
    usage = client.shutil.disk_usage(tmp_path)._replace(free=51 << 20)
    monkeypatch.setattr(client.shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(client, "_copy_of", lambda *_: pytest.fail("it was copied"))
    with pytest.raises(TrackingError, match=r"2 MB is not copied .* only 51 MB are free.*TMPDIR"):
        known_experiments(f"sqlite:///{file}", ["small"])
