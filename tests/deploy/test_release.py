"""What is released: a source distribution and a wheel, built from the files that git keeps."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import nearnorm
from tests.deploy.dockerfile import ROOT

OUR_OWN = 30e6
"""Bytes that we may bring ourselves."""
NUMBERED = "W004"  # modules that no import can name: alembic reads migrations by their path


def run(*words: str | Path, cwd: Path) -> str:
    done = subprocess.run([sys.executable, "-m", *words], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, and the wheel built from it, without the tests and what git ignores."""
    folder = tmp_path_factory.mktemp("release")
    archive = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    names = [name for name in archive.stdout.decode().split("\0") if name and (ROOT / name).exists()]
    with tarfile.open(folder / "source.tar", "w") as tar:
        for name in names:
            if not name.startswith("tests/"):
                tar.add(ROOT / name, name, recursive=False)
    with tarfile.open(folder / "source.tar") as tar:
        tar.extractall(folder / "source", filter="data")
    run("build", "--no-isolation", "--outdir", folder / "dist", ".", cwd=folder / "source")
    return folder / "dist"


def wheel_of(dist: Path) -> Path:
    (found,) = dist.glob("*.whl")
    return found


def test_twine_and_check_wheel_contents_have_no_complaint(dist: Path) -> None:
    run("twine", "check", "--strict", *dist.iterdir(), cwd=dist)
    run("check_wheel_contents", "--ignore", NUMBERED, wheel_of(dist), cwd=dist)


def test_the_version_stands_in_one_place_and_the_changelog_tells_of_it(dist: Path) -> None:
    version = nearnorm.__version__
    assert {path.name for path in dist.iterdir()} == {
        f"nearnorm-{version}.tar.gz",
        f"nearnorm-{version}-py3-none-any.whl",
    }
    headings = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
    assert any(line.startswith(f"## {version} (") for line in headings)


def test_a_wheel_is_small_typed_and_whole(dist: Path) -> None:
    wheel = zipfile.ZipFile(wheel_of(dist))
    assert sum(one.file_size for one in wheel.infolist()) < OUR_OWN
    packed = set(wheel.namelist())
    assert "nearnorm/py.typed" in packed
    for room in ("service", "training", "models"):
        kept = subprocess.run(
            ["git", "ls-files", room], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout.splitlines()
        left_out = {f"nearnorm/{name}" for name in kept if (ROOT / name).exists()} - packed
        assert not {name for name in left_out if not name.startswith("nearnorm/training/samples/")}
