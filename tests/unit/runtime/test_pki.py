"""Certificates: what an authority signs, and what it refuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store

from cellplane.cell.problem import FailedPrecondition, Invalid
from cellplane.runtime.clock import SystemClock
from cellplane.runtime.pki import Authority, digest_of, make_csr, matches, validity

URI = "spiffe://cellplane.local/organizations/acme/dataPlanes/u-1"
DAY = timedelta(days=1)


class FixedClock(SystemClock):
    """Stands still at a given time."""

    def __init__(self, now: datetime) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now


def names(cert_pem: bytes) -> list[Any]:
    certificate = x509.load_pem_x509_certificate(cert_pem)
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [name.value for name in found]


def request(*extensions: x509.ExtensionType, key: Any = None) -> bytes:
    """A certificate request that asks for whatever is given."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM)


def test_a_leaf_chains_to_its_authority() -> None:
    """A verifier that trusts the authority accepts its leaf for a client, with its URI."""
    authority = Authority.create("test")
    pair = authority.issue(uri=URI, dns=["model"], ips=["127.0.0.1"], server=True)
    ca = x509.load_pem_x509_certificate(authority.cert_pem)
    verifier = PolicyBuilder().store(Store([ca])).build_client_verifier()
    verified = verifier.verify(x509.load_pem_x509_certificate(pair.cert_pem), [])
    assert verified.subjects is not None
    assert [str(name.value) for name in verified.subjects] == [URI, "model", "127.0.0.1"]
    assert matches(pair.cert_pem, pair.key_pem)
    assert not matches(pair.cert_pem, authority.key_pem)


def test_usages_are_what_was_asked() -> None:
    """A client's certificate is no server's, and one for nothing isn't made."""
    authority = Authority.create("test")
    leaf = x509.load_pem_x509_certificate(authority.issue(uri=URI).cert_pem)
    usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    with pytest.raises(Invalid):
        authority.issue(uri=URI, client=False)


def test_an_authority_is_loaded_as_it_was_saved(tmp_path: Path) -> None:
    """A saved authority has private files, and signs on when it is loaded."""
    authority = Authority.create("test")
    cert, key = authority.save(tmp_path)
    assert key.stat().st_mode & 0o777 == 0o600
    loaded = Authority.load(cert, key)
    assert loaded.digest() == authority.digest() == digest_of(cert.read_bytes())
    assert loaded.digest().startswith("sha256:")
    assert len(loaded.digest()) == 71
    assert loaded.issue(uri=URI)


def test_a_leaf_is_no_authority(tmp_path: Path) -> None:
    """A leaf, or a key of another, is refused as an authority."""
    authority = Authority.create("test")
    leaf_cert, leaf_key = authority.issue(uri=URI).save(tmp_path, "leaf")
    with pytest.raises(Invalid):
        Authority.load(leaf_cert, leaf_key)
    cert, _ = authority.save(tmp_path)
    with pytest.raises(Invalid):
        Authority.load(cert, leaf_key)


def test_time_is_the_clocks() -> None:
    """Validity starts at the clock's time less the skew, and never outlives the authority."""
    now = datetime(2030, 1, 1, tzinfo=UTC)
    authority = Authority.create("test", clock=FixedClock(now), lifetime=10 * DAY)
    start, end = validity(authority.issue(uri=URI, lifetime=DAY).cert_pem)
    assert (start, end) == (now - timedelta(minutes=5), now + DAY)
    _, end = validity(authority.issue(uri=URI, lifetime=100 * DAY).cert_pem)
    assert end == now + 10 * DAY
    late = Authority(
        cert_pem=authority.cert_pem, key_pem=authority.key_pem, clock=FixedClock(now + 11 * DAY)
    )
    with pytest.raises(FailedPrecondition):
        late.issue(uri=URI)
    with pytest.raises(Invalid):
        authority.issue(uri=URI, lifetime=timedelta(0))


@pytest.mark.parametrize("asked", [URI, ""])
def test_a_request_is_signed_as_the_argument_says(asked: str) -> None:
    """The signed certificate holds the argument's URI and the request's key."""
    authority = Authority.create("test")
    key, csr = make_csr(None, asked)
    cert = authority.sign_csr(csr, uri=URI, lifetime=DAY)
    assert names(cert) == [URI]
    assert matches(cert, key)
    again, _ = make_csr(key, asked)
    assert again == key


@pytest.mark.parametrize(
    ("extensions", "reason"),
    [
        ([x509.BasicConstraints(ca=True, path_length=None)], "CSR_AUTHORITY_REFUSED"),
        (
            [x509.SubjectAlternativeName([x509.UniformResourceIdentifier(URI + "0")])],
            "CSR_NAME_REFUSED",
        ),
        (
            [
                x509.SubjectAlternativeName(
                    [x509.UniformResourceIdentifier(URI), x509.DNSName("model")]
                )
            ],
            "CSR_NAME_REFUSED",
        ),
        ([x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])], "CSR_USAGE_REFUSED"),
        (
            [
                x509.KeyUsage(
                    digital_signature=True,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    key_cert_sign=True,
                    crl_sign=False,
                    encipher_only=False,
                    decipher_only=False,
                )
            ],
            "CSR_USAGE_REFUSED",
        ),
        ([x509.OCSPNoCheck()], "CSR_EXTENSION_REFUSED"),
    ],
)
def test_a_request_for_more_is_refused(extensions: list[x509.ExtensionType], reason: str) -> None:
    """A request that asks for anything beyond its identity is refused, and says what for."""
    with pytest.raises(Invalid) as refused:
        Authority.create("test").sign_csr(request(*extensions), uri=URI, lifetime=DAY)
    assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("csr", "reason"),
    [
        (b"", "CSR_MALFORMED"),
        (
            b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
            "CSR_MALFORMED",
        ),
        (request(key=ed25519.Ed25519PrivateKey.generate()), "CSR_KEY_UNSUPPORTED"),
        (request(key=ec.generate_private_key(ec.SECP521R1())), "CSR_KEY_UNSUPPORTED"),
    ],
)
def test_what_is_no_request_is_refused(csr: bytes, reason: str) -> None:
    """Garbage and other kinds of keys are refused."""
    with pytest.raises(Invalid) as refused:
        Authority.create("test").sign_csr(csr, uri=URI, lifetime=DAY)
    assert refused.value.reason == reason


def test_a_request_must_prove_its_key() -> None:
    """A request whose signature is another key's is refused."""
    der = bytearray(x509.load_pem_x509_csr(request()).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    forged = x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(Invalid) as refused:
        Authority.create("test").sign_csr(forged, uri=URI, lifetime=DAY)
    assert refused.value.reason in ("CSR_SIGNATURE_INVALID", "CSR_MALFORMED")
