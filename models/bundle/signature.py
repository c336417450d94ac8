"""Who made a bundle: a signature over its version, which is the digest of all that decides a score.

    manifest.sig   Ed25519, base64, over "nearnorm bundle " and the version; beside manifest.json

Keys are PEM files, as openssl writes them. The library comes with the extra `signatures`, and is imported
only where a key is set.
"""

import base64
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearnorm.models.bundle.bundle import Bundle, read_bundle, write_durably
from nearnorm.models.bundle.plain_file import read_plain_file
from nearnorm.models.errors import BundleError, ConfigError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE = "manifest.sig"
MOST_BYTES = 4096


class SigningKey:
    """A private key from a PEM file without a password."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError."""
        load = _library().load_pem_private_key
        self._key: Ed25519PrivateKey = _read(path, lambda pem: load(pem, None), "Ed25519PrivateKey")

    def sign(self, folder: Path) -> str:
        """Put a signature beside the manifest of a bundle, in the place of an older one; its version.

        Raises BundleError for what is no whole bundle, and where nothing can be written.
        """
        version = read_bundle(folder).version
        signature = base64.b64encode(self._key.sign(_message(version))) + b"\n"
        temporary = folder / f".{SIGNATURE}-{uuid.uuid4().hex}"
        try:
            write_durably(temporary, signature)
            temporary.replace(folder / SIGNATURE)  # what lies there, a link perhaps, is not written through
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise BundleError(f"{folder / SIGNATURE} cannot be written: {error.strerror}") from None
        return version


class TrustedKeys:
    """Public keys from PEM files: a bundle that none of them signed is refused."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Raises ConfigError."""
        load = _library().load_pem_public_key
        self._keys: list[Ed25519PublicKey] = [_read(path, load, "Ed25519PublicKey") for path in paths]

    def check(self, bundle: Bundle) -> None:
        """Raises BundleError."""
        from cryptography.exceptions import InvalidSignature

        path = bundle.path / SIGNATURE
        try:
            signature = base64.b64decode(read_plain_file(path, MOST_BYTES).strip(), validate=True)
        except FileNotFoundError:
            raise BundleError(f"{bundle.path} is not signed: sign it by `nearnorm models sign`") from None
        except (OSError, ValueError):
            raise BundleError(f"{path} cannot be read as a signature: sign the bundle again") from None
        for key in self._keys:
            try:
                key.verify(signature, _message(bundle.version))
                return
            except InvalidSignature:
                continue
        raise BundleError(f"{bundle.path} is signed by none of the keys in NEARNORM_TRUSTED_KEYS")


def _message(version: str) -> bytes:
    return b"nearnorm bundle " + version.encode()


def _library() -> Any:  # noqa: ANN401 - a module
    try:
        from cryptography.hazmat.primitives import serialization
    except ModuleNotFoundError:
        raise ConfigError("signatures need `pip install 'nearnorm[signatures]'`") from None
    return serialization


def _read(path: Path, load: Callable[[bytes], Any], kind: str) -> Any:  # noqa: ANN401 - a key of that kind
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ed25519

    try:
        key = load(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, getattr(ed25519, kind)):
        raise ConfigError(f"{path} is no {kind} in PEM without a password: see docs/operations.md")
    return key
