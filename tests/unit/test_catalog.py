"""The studies that ship, in a source tree and in a wheel."""

import tomllib
from pathlib import Path

from hpsearch import catalog

ROOT = Path(__file__).parents[2]


def test_a_study_in_a_folder_is_named_with_it():
    """Files in studies/ have their own name, those in a folder the folder's before it."""
    studies = catalog.shipped_studies()
    assert list(studies)[:3] == ["digits", "mnist-500", "moons"]
    assert studies["course/moons"] == ROOT / "studies" / "course" / "moons.toml"
    assert {"course/search", "course/optimizers", "course/batch-norm"} < set(studies)


def test_a_wheel_finds_them_inside_the_package(tmp_path, monkeypatch):
    """Where studies/ lies inside the package, that folder is meant, under the same names."""
    file = tmp_path / "hpsearch" / "studies" / "course" / "a.toml"
    file.parent.mkdir(parents=True)
    file.touch()
    monkeypatch.setattr(catalog, "__file__", str(tmp_path / "hpsearch" / "catalog.py"))
    assert catalog.shipped_studies() == {"course/a": file}


def test_the_wheel_takes_the_whole_folder():
    """No study file can be forgotten: the folder is packed, not a list of files."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"studies": "hpsearch/studies"}
