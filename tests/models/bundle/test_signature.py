"""Who made a bundle: signed by Ed25519, refused where nobody who is trusted signed it."""

import base64
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from nearnorm.models.bundle.bundle import Bundle, read_bundle
from nearnorm.models.bundle.signature import SIGNATURE, SigningKey, TrustedKeys
from nearnorm.models.errors import BundleError, ConfigError
from tests.service.bundles import make_bundle


def key_pair(folder: Path, name: str) -> tuple[Path, Path]:
    """The files of a private key and of its public one."""
    key = ed25519.Ed25519PrivateKey.generate()
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_bundle(tmp_path / "bundle")


def test_a_bundle_signed_by_one_of_the_trusted_keys_is_taken(bundle: Bundle, tmp_path: Path) -> None:
    ours, theirs = key_pair(tmp_path, "ours"), key_pair(tmp_path, "theirs")
    assert SigningKey(ours[0]).sign(bundle.path) == bundle.version
    TrustedKeys([theirs[1], ours[1]]).check(read_bundle(bundle.path))
    with pytest.raises(BundleError, match="signed by none of the keys in NEARNORM_TRUSTED_KEYS"):
        TrustedKeys([theirs[1]]).check(bundle)
    SigningKey(theirs[0]).sign(bundle.path)
    TrustedKeys([theirs[1]]).check(bundle)


def test_an_unsigned_bundle_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not signed"):
        TrustedKeys([key_pair(tmp_path, "ours")[1]]).check(bundle)


def test_a_signature_holds_for_its_own_bundle_alone(bundle: Bundle, tmp_path: Path) -> None:
    private, public = key_pair(tmp_path, "ours")
    other = make_bundle(tmp_path / "other", seed=1)
    SigningKey(private).sign(other.path)
    (bundle.path / SIGNATURE).write_bytes((other.path / SIGNATURE).read_bytes())
    with pytest.raises(BundleError, match="signed by none"):
        TrustedKeys([public]).check(bundle)


@pytest.mark.parametrize("content", [b"", b"no base64!", b"\xff\xfe", base64.b64encode(b"x" * 64), b"AAAA"])
def test_what_is_no_signature_is_refused_in_a_sentence(
    bundle: Bundle, tmp_path: Path, content: bytes
) -> None:
    (bundle.path / SIGNATURE).write_bytes(content)
    with pytest.raises(BundleError, match=r"signed by none|cannot be read as a signature"):
        TrustedKeys([key_pair(tmp_path, "ours")[1]]).check(bundle)


def test_a_signature_is_never_written_through_a_link(bundle: Bundle, tmp_path: Path) -> None:
    private, public = key_pair(tmp_path, "ours")
    outside = tmp_path / "outside"
    outside.write_text("somebody else's")
    (bundle.path / SIGNATURE).symlink_to(outside)
    SigningKey(private).sign(bundle.path)
    assert outside.read_text() == "somebody else's"
    assert not (bundle.path / SIGNATURE).is_symlink()
    TrustedKeys([public]).check(bundle)
    assert not list(bundle.path.glob(".*"))


@pytest.mark.timeout(10)
def test_a_signature_that_is_no_plain_file_is_refused_at_once(bundle: Bundle, tmp_path: Path) -> None:
    private, public = key_pair(tmp_path, "ours")
    SigningKey(private).sign(bundle.path)
    (bundle.path / SIGNATURE).rename(tmp_path / "elsewhere")
    (bundle.path / SIGNATURE).symlink_to(tmp_path / "elsewhere")
    keys = TrustedKeys([public])
    with pytest.raises(BundleError, match="cannot be read as a signature"):
        keys.check(bundle)
    (bundle.path / SIGNATURE).unlink()
    os.mkfifo(bundle.path / SIGNATURE)
    with pytest.raises(BundleError, match="cannot be read as a signature"):
        keys.check(bundle)


def test_a_file_that_holds_no_such_key_is_told_by_its_name(tmp_path: Path) -> None:
    private, public = key_pair(tmp_path, "ours")
    other = ec.generate_private_key(ec.SECP256R1())
    rsa_like, locked = tmp_path / "curve.pem", tmp_path / "locked.pem"
    rsa_like.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    key = ed25519.Ed25519PrivateKey.generate()
    locked.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")))
    for path in (public, rsa_like, locked):
        with pytest.raises(ConfigError, match=f"{path.name} is no Ed25519PrivateKey"):
            SigningKey(path)
    with pytest.raises(ConfigError, match=r"ours\.pem is no Ed25519PublicKey"):
        TrustedKeys([private])
    with pytest.raises(ConfigError, match=r"none\.pem cannot be read"):
        TrustedKeys([tmp_path / "none.pem"])
