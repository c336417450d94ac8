"""A bundle is a folder: model.onnx, manifest.json, and a report beside them. Digests before parsing."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from nearnorm.models.bundle.consistency import misfits
from nearnorm.models.bundle.manifest import FORMAT_VERSION, Manifest
from nearnorm.models.bundle.plain_file import read_plain_file
from nearnorm.models.canonical import digest
from nearnorm.models.errors import BundleError

MODEL = "model.onnx"
MANIFEST = "manifest.json"
MOST_MANIFEST_BYTES = 64 * 2**20
MOST_FILE_BYTES = 2**30
MOST_FILES = 8
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True)
class Bundle:
    """A folder whose digests have been checked, and the bytes of its model as they were then."""

    path: Path
    manifest: Manifest
    model: bytes

    @property
    def version(self) -> str:
        return self.manifest.version


def write_bundle(
    folder: Path, manifest: Manifest, model: bytes, reports: Mapping[str, bytes] | None = None
) -> Bundle:
    """Write a whole bundle or nothing: a temporary folder, fsync, rename. `reports` are files beside it.

    An existing bundle at `folder` is replaced; anything else there raises BundleError.
    """
    refuse_other_files(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".bundle-", dir=folder.parent))
    try:
        temporary.chmod(0o755)  # mkdtemp's 0700 would lock out a service that runs as another user
        manifest_bytes = manifest.model_dump_json(indent=1).encode()
        for name, content in {MODEL: model, MANIFEST: manifest_bytes, **(reports or {})}.items():
            write_durably(temporary / name, content)
        if folder.exists():
            shutil.rmtree(folder)
        rename_durably(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return read_bundle(folder)


def refuse_other_files(folder: Path) -> None:
    """Raise BundleError where a bundle cannot be written: there is something, and it is no bundle."""
    if folder.exists() and not folder.is_dir():
        raise BundleError(f"{folder} is a file: name a folder")
    if folder.is_dir() and not (folder / MANIFEST).is_file() and any(folder.iterdir()):
        raise BundleError(f"{folder} holds other files: name a new or empty folder")


def read_bundle(folder: Path) -> Bundle:
    """Read and verify a bundle. Raises BundleError naming the file and what is wrong with it."""
    document = _manifest_document(folder / MANIFEST)
    core = document.get("core")
    if not isinstance(core, dict) or not isinstance(core.get("files"), dict):
        raise BundleError(f"{folder / MANIFEST} has no core with file digests: not a Nearnorm bundle")
    known = core.get("format_version")
    if known != FORMAT_VERSION:
        raise BundleError(
            f"{folder} has bundle format {known!r}, and this release reads format {FORMAT_VERSION}: "
            "train the model again, or serve it with the release that wrote it"
        )
    try:
        actual = digest(core)
    except (ValueError, RecursionError):
        raise BundleError(
            f"{folder / MANIFEST} holds what JSON has not: NaN, infinities, half a character: import it again"
        ) from None
    if actual != document.get("version"):
        raise BundleError(f"{folder / MANIFEST} was changed after it was written: import it again")
    if len(core["files"]) > MOST_FILES:
        raise BundleError(f"{folder / MANIFEST} names more than {MOST_FILES} files: not a Nearnorm bundle")
    contents = {name: _verified(folder, name, sha) for name, sha in core["files"].items()}
    if MODEL not in contents:
        raise BundleError(f"{folder / MANIFEST} lists no {MODEL}: not a Nearnorm bundle")
    try:
        manifest = Manifest.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{folder / MANIFEST}: {where}: {first['msg']}") from None
    misfit = next(misfits(manifest.core), None)
    if misfit is not None:
        raise BundleError(f"{folder / MANIFEST} does not fit together: core.{misfit}")
    return Bundle(folder, manifest, contents[MODEL])


def read_verified(folder: Path) -> Bundle:
    """Read a bundle that was verified before, and has not been changed since. Raises OSError."""
    manifest = Manifest.model_validate_json(read_plain_file(folder / MANIFEST, MOST_MANIFEST_BYTES))
    return Bundle(folder, manifest, read_plain_file(folder / MODEL, MOST_FILE_BYTES))


def _manifest_document(path: Path) -> dict[str, object]:
    try:
        document = json.loads(read_plain_file(path, MOST_MANIFEST_BYTES))
    except FileNotFoundError:
        raise BundleError(f"{path.parent} is not a bundle: it has no {MANIFEST}") from None
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise BundleError(f"{path} is not JSON: it is truncated or damaged") from None
    if not isinstance(document, dict):
        raise BundleError(f"{path} is not a JSON object: not a Nearnorm bundle")
    return document


def _verified(folder: Path, name: str, sha: object) -> bytes:
    if not _PLAIN_NAME.fullmatch(name):
        raise BundleError(f"{folder / MANIFEST} names {name[:100]!r}, which is no plain file of the bundle")
    path = folder / name
    try:
        content = read_plain_file(path, MOST_FILE_BYTES)
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from None
    if hashlib.sha256(content).hexdigest() != sha:
        raise BundleError(f"{path} does not have the digest in {MANIFEST}: truncated or tampered with")
    return content


def write_durably(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def rename_durably(source: Path, target: Path) -> None:
    """Rename a folder so that it survives a power cut: its entries first, then its new name."""
    fsync_folder(source)
    os.rename(source, target)
    fsync_folder(target.parent)


def fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
