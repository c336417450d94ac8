import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from nearnorm.models.bundle.bundle import MANIFEST, MODEL, read_bundle, write_bundle
from nearnorm.models.bundle.plain_file import read_plain_file
from nearnorm.models.errors import BundleError
from tests.models.made import MODEL_BYTES, make_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle", make_manifest(), MODEL_BYTES, {"report.json": b"{}"}).path


def test_what_was_written_is_read_again(folder: Path) -> None:
    bundle = read_bundle(folder)
    assert bundle.manifest == make_manifest()
    assert bundle.model == MODEL_BYTES
    assert bundle.version == make_manifest().version
    assert sorted(f.name for f in folder.iterdir()) == [MANIFEST, MODEL, "report.json"]


def test_times_and_the_machine_do_not_change_the_version_but_the_core_does() -> None:
    manifest = make_manifest()
    assert manifest.model_copy(update={"created_at": "then"}).core.version == manifest.version
    assert make_manifest(seed=1).version != manifest.version
    assert make_manifest(model=b"another").version != manifest.version


def test_a_bundle_is_replaced_by_a_newer_one(folder: Path) -> None:
    write_bundle(folder, make_manifest(seed=1), MODEL_BYTES)
    assert read_bundle(folder).manifest.core.seed == 1
    assert not (folder / "report.json").exists()
    assert [f.name for f in folder.parent.iterdir()] == ["bundle"]


def test_other_files_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("x")
    for name, message in (("mine", "holds other files"), ("file", "is a file")):
        with pytest.raises(BundleError, match=message):
            write_bundle(tmp_path / name, make_manifest(), MODEL_BYTES)
    assert (tmp_path / "mine" / "thesis.txt").exists()


@pytest.mark.parametrize("name", [MODEL, MANIFEST])
def test_a_truncated_file_is_refused_by_name(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(BundleError, match=name):
        read_bundle(folder)


def test_a_tampered_model_is_refused(folder: Path) -> None:
    (folder / MODEL).write_bytes(b"b model")
    with pytest.raises(BundleError, match=r"model\.onnx does not have the digest .* truncated or tampered"):
        read_bundle(folder)


def test_a_manifest_that_was_changed_by_hand_is_refused(folder: Path) -> None:
    document = json.loads((folder / MANIFEST).read_bytes())
    document["core"]["seed"] = 7
    (folder / MANIFEST).write_text(json.dumps(document))
    with pytest.raises(BundleError, match="was changed after it was written"):
        read_bundle(folder)


def test_an_unknown_format_is_refused_in_one_sentence_before_anything_else_is_read(folder: Path) -> None:
    (folder / MANIFEST).write_text(json.dumps({"core": {"format_version": 99, "files": {}}}))
    with pytest.raises(BundleError, match="has bundle format 99, and this release reads format 1"):
        read_bundle(folder)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "..", "", "a\0b", ".hidden", "x" * 300])
def test_a_manifest_cannot_name_files_outside_its_folder(folder: Path, name: str) -> None:
    manifest = make_manifest()
    core = manifest.core.model_copy(update={"files": {**manifest.core.files, name: "0" * 64}})
    document = manifest.model_copy(update={"core": core, "version": core.version})
    (folder / MANIFEST).write_text(document.model_dump_json())
    with pytest.raises(BundleError, match="which is no plain file of the bundle"):
        read_bundle(folder)


def a_link(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to(path.with_name("moved"))


def a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def a_socket(path: Path) -> None:
    path.unlink()
    os.chdir(path.parent)  # an address of a socket is short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path.name)


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("name", [MODEL, MANIFEST])
@pytest.mark.parametrize("harm", [a_link, a_fifo, a_socket, a_folder])
@pytest.mark.timeout(10)
def test_what_is_no_plain_file_is_refused_at_once(
    folder: Path, name: str, harm: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)  # back from where a harm goes
    harm(folder / name)
    with pytest.raises(BundleError, match=f"{name} cannot be read: it is no plain file"):
        read_bundle(folder)


@pytest.mark.timeout(10)
def test_a_device_that_never_ends_is_refused_at_once() -> None:
    with pytest.raises(OSError, match="it is no plain file"):
        read_plain_file(Path("/dev/zero"), 1)


def test_a_file_is_read_up_to_its_bound_and_no_further(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_plain_file(tmp_path / "file", 5) == b"12345"
    with pytest.raises(OSError, match="larger than 4 bytes"):
        read_plain_file(tmp_path / "file", 4)
    with pytest.raises(OSError, match="larger than 100 bytes"):
        read_plain_file(Path("/proc/self/environ"), 100)  # it says that its size is 0


def test_a_manifest_that_names_files_without_end_is_refused(folder: Path) -> None:
    manifest = make_manifest()
    core = manifest.core.model_copy(update={"files": {f"file-{i}": "0" * 64 for i in range(1000)}})
    document = manifest.model_copy(update={"core": core, "version": core.version})
    (folder / MANIFEST).write_text(document.model_dump_json())
    with pytest.raises(BundleError, match="names more than 8 files"):
        read_bundle(folder)


@pytest.mark.parametrize("content", [b"[]", b"{}", b"\x00", b"[" * 100_000])
def test_a_manifest_that_is_none_is_refused(folder: Path, content: bytes) -> None:
    (folder / MANIFEST).write_bytes(content)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        read_bundle(folder)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"is not a bundle: it has no manifest\.json"):
        read_bundle(tmp_path)
