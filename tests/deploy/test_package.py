"""What `pip install nearnorm` puts on a machine: one package of real files, by wheel and by sdist alike."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import nearnorm
from tests.deploy.dockerfile import ROOT

BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, sys.argv[1])(sys.argv[2])"
SOURCES = ("pyproject.toml", "README.md", "models", "service", "training", "src")
NOT_CODE = [  # what a wheel leaves out unless it is told
    "nearnorm/py.typed",
    "nearnorm/models/starter/manifest.json",
    "nearnorm/models/starter/model.onnx",
    "nearnorm/training/teacher/weights.npz",
    "nearnorm/training/samples/shuttle_train.parquet",
    "nearnorm/training/samples/shuttle_reference.parquet",
]


def build(source: Path, what: str, out: Path) -> Path:
    out.mkdir()
    subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", BUILD, what, str(out)],
        cwd=source,
        capture_output=True,
        check=True,
    )
    (made,) = out.iterdir()
    return made


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        assert all((info.external_attr >> 16) & 0o170000 == 0o100000 for info in archive.infolist())
        return {info.filename for info in archive.infolist()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the sdist of this checkout."""
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    source.mkdir()
    leave = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in SOURCES:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, symlinks=True, ignore=leave)
        else:
            shutil.copy(path, source / name)
    return build(source, "build_wheel", folder / "wheel"), build(source, "build_sdist", folder / "sdist")


def test_the_wheel_holds_one_package_and_every_file_of_it(built: tuple[Path, Path]) -> None:
    found = names(built[0])
    tops = {name.split("/")[0] for name in found}
    assert tops == {"nearnorm", f"nearnorm-{nearnorm.__version__}.dist-info"}
    modules = {
        f"nearnorm/{path.relative_to(ROOT)}"
        for room in ("models", "service", "training")
        for path in (ROOT / room).rglob("*.py")
    }
    assert modules <= found
    assert set(NOT_CODE) <= found
    pages = {
        f"nearnorm/{path.relative_to(ROOT)}"
        for room in ("service", "training")
        for path in (ROOT / room).rglob("*")
        if path.suffix in (".html", ".css", ".js")
    }
    assert pages
    assert pages <= found


def test_the_sdist_holds_files_and_no_links_and_gives_the_same_wheel(
    built: tuple[Path, Path], tmp_path: Path
) -> None:
    with tarfile.open(built[1]) as archive:
        assert all(member.isfile() or member.isdir() for member in archive.getmembers())
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert names(build(source, "build_wheel", tmp_path / "wheel")) == names(built[0])
