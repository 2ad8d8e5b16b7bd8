"""MNIST's files: where they are looked for, how they are checked and downloaded."""

import functools
import gzip
import http.server
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hpsearch.data import mnist
from hpsearch.data.folders import cache_folder
from hpsearch.errors import DataError

NAMES = tuple(mnist.DIGESTS)
IMAGES = "train-images-idx3-ubyte"
REAL = os.environ.get("HPSEARCH_DATA")


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """A cache folder for this test alone."""
    monkeypatch.setenv("HPSEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    return tmp_path / "cache"


@pytest.fixture
def mirror(mnist_slice, monkeypatch):
    """A web server with the slice; returns the paths it was asked for."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *_):
            pass

    handler = functools.partial(Handler, directory=str(mnist_slice))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setattr(mnist, "MIRRORS", (f"http://127.0.0.1:{server.server_port}/",))
        yield asked
        server.shutdown()


def refusal(data_dir: Path | None) -> str:
    """The one line with which reading the training files ends."""
    with pytest.raises(DataError) as caught:
        mnist.read_rows(mnist.TRAINING, data_dir)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_names_remedy(line: str) -> None:
    """The line says which four files to give, and how."""
    assert "--data-dir DIR" in line
    assert "HPSEARCH_DATA" in line
    assert all(f"{name}.gz" in line for name in NAMES)


def test_rows_have_the_types_and_shapes_promised(mnist_slice):
    """Images are flat bytes, labels are int64, in the order of the files."""
    rows = mnist.read_rows(mnist.TRAINING, mnist_slice)
    assert (rows.x.shape, rows.x.dtype) == ((600, 784), np.uint8)
    assert (rows.y.shape, rows.y.dtype) == ((600,), np.int64)
    assert rows.y[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]


def test_files_are_found_unpacked_and_in_a_subfolder(mnist_slice, tmp_path):
    """A folder may hold the files packed or not, directly or in `mnist/`."""
    (tmp_path / "mnist").mkdir()
    for name in mnist.TRAINING:
        unpacked = gzip.decompress((mnist_slice / f"{name}.gz").read_bytes())
        (tmp_path / "mnist" / name).write_bytes(unpacked)
    assert len(mnist.read_rows(mnist.TRAINING, tmp_path)) == 600


def test_the_environment_names_a_folder_and_an_argument_wins(mnist_slice, tmp_path, monkeypatch):
    """HPSEARCH_DATA is used where no folder is given, and only there."""
    monkeypatch.setenv("HPSEARCH_DATA", str(mnist_slice))
    assert len(mnist.read_rows(mnist.TRAINING, None)) == 600
    assert str(tmp_path) in refusal(tmp_path)


def test_a_folder_that_is_not_there_is_named(tmp_path, monkeypatch):
    """The line names the folder and whether the option or the variable said it."""
    gone = tmp_path / "gone"
    line = refusal(gone)
    assert line.startswith(f"{gone}: no such folder (--data-dir)")
    assert_names_remedy(line)
    monkeypatch.setenv("HPSEARCH_DATA", str(gone))
    assert "no such folder (HPSEARCH_DATA)" in refusal(None)


def test_a_missing_file_is_named(mnist_slice, tmp_path):
    """A folder without one of the files is not silently filled by a download."""
    shutil.copy(mnist_slice / f"{IMAGES}.gz", tmp_path)
    line = refusal(tmp_path)
    assert line.startswith(f"{tmp_path}: train-labels-idx1-ubyte.gz is not in this folder")
    assert_names_remedy(line)


def test_other_bytes_than_the_original_are_refused(mnist_slice, tmp_path):
    """One changed pixel is another file."""
    shutil.copytree(mnist_slice, tmp_path, dirs_exist_ok=True)
    path = tmp_path / f"{IMAGES}.gz"
    data = bytearray(gzip.decompress(path.read_bytes()))
    data[5000] ^= 1
    path.write_bytes(gzip.compress(data))
    line = refusal(tmp_path)
    assert line.startswith(f"{path}: not the original")
    assert_names_remedy(line)


def test_the_slice_is_not_mnist():
    """Without the tests' own digests the small files are refused: the check is on."""
    line = refusal(Path(__file__).parents[2] / "data" / "mnist_slice")
    assert "not the original train-images-idx3-ubyte" in line


def test_a_file_too_large_is_not_read_into_memory(mnist_slice, monkeypatch):
    """Unpacking stops where no MNIST file reaches."""
    monkeypatch.setattr(mnist, "_MOST_BYTES", 1000)
    assert "too large" in refusal(mnist_slice)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=80)
    | st.integers(1, 100).map(lambda n: gzip.compress(b"\0\0\x08\x03" + bytes(200), mtime=0)[:-n])
)
def test_no_packed_bytes_bring_about_another_error(tmp_path, data):
    """A file that is no gzip, a truncated or a damaged one: DataError, one line."""
    (tmp_path / f"{IMAGES}.gz").write_bytes(data)
    assert str(tmp_path) in refusal(tmp_path)


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (b"\0\0\x08\x03" + b"\0\0\0\x01" * 3 + b"\0", b"\0\0\x08\x01\0\0\0\x01\x05", "belong"),
        (
            b"\0\0\x08\x03" + b"\0\0\0\x01\0\0\0\x1c\0\0\0\x1c" + bytes(784),
            b"\0\0\x08\x01\0\0\0\x01\x0a",
            "label 10",
        ),
        (
            b"\0\0\x08\x03" + b"\0\0\0\x01\0\0\0\x1c\0\0\0\x1c" + bytes(784),
            b"\0\0\x08\x01\0\0\0\x02\x01\x01",
            "belong",
        ),
    ],
)
def test_files_that_do_not_fit_each_other_are_refused(tmp_path, monkeypatch, images, labels, said):
    """Images of another size, labels that are no digits, or another number of them."""
    monkeypatch.setattr(mnist, "_verified", lambda path, _: path.read_bytes())
    for name, data in zip(mnist.TRAINING, (images, labels), strict=True):
        (tmp_path / name).write_bytes(data)
    assert said in refusal(tmp_path)


def test_files_are_downloaded_once(mirror, own_cache, capfd):
    """The second reading asks no server, and nothing is printed by anybody."""
    for _ in range(2):
        assert len(mnist.read_rows(mnist.TRAINING, None)) == 600
    assert mirror == [f"/{name}.gz" for name in mnist.TRAINING]
    assert sorted(path.name for path in (own_cache / "mnist").iterdir()) == sorted(
        f"{name}.gz" for name in mnist.TRAINING
    )
    assert capfd.readouterr() == ("", "")


def test_a_damaged_download_is_fetched_again(mirror, own_cache):
    """What lies damaged in our own cache is ours to replace."""
    mnist.read_rows(mnist.TRAINING, None)
    (own_cache / "mnist" / f"{IMAGES}.gz").write_bytes(b"damaged")
    assert len(mnist.read_rows(mnist.TRAINING, None)) == 600
    assert mirror.count(f"/{IMAGES}.gz") == 2


@pytest.mark.usefixtures("mirror", "own_cache")
def test_the_second_mirror_is_asked_when_the_first_fails(monkeypatch):
    """A mirror that is away, or sends something else, does not end the study."""
    (server,) = mnist.MIRRORS
    monkeypatch.setattr(mnist, "MIRRORS", ("http://127.0.0.1:9/", f"{server}nothing/", server))
    assert len(mnist.read_rows(mnist.TRAINING, None)) == 600


@pytest.mark.usefixtures("mirror")
def test_a_mirror_with_other_bytes_is_refused(own_cache, monkeypatch):
    """Nothing unchecked stays in the cache."""
    monkeypatch.setitem(mnist.DIGESTS, IMAGES, "0" * 64)
    line = refusal(None)
    assert line.startswith(f"{IMAGES}.gz: cannot be downloaded (the mirror sent another file)")
    assert_names_remedy(line)
    assert not list((own_cache / "mnist").iterdir())


@pytest.mark.usefixtures("own_cache")
def test_without_a_network_one_line_says_what_to_do(monkeypatch):
    """Offline and without files: the four files and both ways to give them."""
    monkeypatch.setattr(mnist, "MIRRORS", ("http://127.0.0.1:9/",))
    line = refusal(None)
    assert line.startswith(f"{IMAGES}.gz: cannot be downloaded")
    assert_names_remedy(line)


def test_a_cache_that_cannot_be_written_is_named(own_cache):
    """The line names the folder and the variable that moves it."""
    own_cache.write_text("a file where the folder should be")
    line = refusal(None)
    assert line.startswith(f"{own_cache / 'mnist'}: cannot be written")
    assert "HPSEARCH_CACHE" in line


def test_an_explicit_cache_wins_over_the_environment(own_cache, tmp_path):
    """Argument, then HPSEARCH_CACHE."""
    assert cache_folder() == own_cache
    assert cache_folder(tmp_path) == tmp_path


def test_without_anything_said_the_cache_is_the_users_own(monkeypatch):
    """The platform's cache folder, named after the program."""
    monkeypatch.delenv("HPSEARCH_CACHE")
    assert "hpsearch" in cache_folder().parts[-2:]


@pytest.mark.skipif(not REAL, reason="HPSEARCH_DATA does not name a folder with MNIST")
def test_the_real_files_are_the_originals():
    """The written digests are those of the real MNIST."""
    assert len(mnist.read_rows(mnist.TRAINING, Path(REAL))) == 60_000
    assert len(mnist.read_rows(mnist.TEST, Path(REAL))) == 10_000
