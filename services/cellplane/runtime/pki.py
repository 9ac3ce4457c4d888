"""Certificates: who one is, as one URI, signed by an authority that decides it.

The identity in a certificate comes from the argument of ``issue`` or ``sign_csr``, never from what
a request asks for. Keys are ECDSA P-256, files are 0600 and replaced whole, time is injected.
Sources: RFC 5280, and SPIFFE's X509-SVID for leaves (one URI, not a CA, digitalSignature).
"""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cellplane.cell.problem import FailedPrecondition, Invalid
from cellplane.runtime.clock import Clock, SystemClock
from cellplane.runtime.files import write_atomic

SKEW = timedelta(minutes=5)
"""How far a clock may be behind before it refuses a certificate that was just issued."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RANDOM_BITS = 64
_NEAR = timedelta(days=1)

AUTHORITY_LIFETIME = timedelta(days=3650)
LEAF_LIFETIME = timedelta(days=90)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class KeyPair:
    """A certificate and its private key, both PEM."""

    cert_pem: bytes
    key_pem: bytes

    def save(self, directory: Path, name: str) -> tuple[Path, Path]:
        """Write ``<name>.crt`` and ``<name>.key``; returns their paths.

        The key goes first: a reader that finds a pair which does not match keeps the one before.
        """
        cert, key = directory / f"{name}.crt", directory / f"{name}.key"
        write_atomic(key, self.key_pem)
        write_atomic(cert, self.cert_pem)
        return cert, key


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Authority:
    """A certificate authority that signs leaves, and no other authority."""

    cert_pem: bytes
    key_pem: bytes
    clock: Clock

    @classmethod
    def create(
        cls,
        common_name: str,
        *,
        clock: Clock | None = None,
        lifetime: timedelta = AUTHORITY_LIFETIME,
    ) -> Authority:
        """Make a new self-signed authority."""
        clock = clock or SystemClock()
        now = clock.now()
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - SKEW)
            .not_valid_after(now + lifetime)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .sign(key, hashes.SHA256())
        )
        return cls(cert_pem=_pem(certificate), key_pem=_key_pem(key), clock=clock)

    @classmethod
    def load(cls, cert_path: Path, key_path: Path, *, clock: Clock | None = None) -> Authority:
        """Read an authority from PEM files.

        Raises ``Invalid`` when the certificate is not an authority's or the key is another's.
        """
        authority = cls(
            cert_pem=cert_path.read_bytes(),
            key_pem=key_path.read_bytes(),
            clock=clock or SystemClock(),
        )
        certificate, key = authority._certificate(), authority._key()
        constraints = _extension(certificate.extensions, x509.BasicConstraints)
        if constraints is None or not constraints.ca:
            raise Invalid(f"certificate {cert_path} is not an authority's: create one with ca:true")
        if _spki(certificate.public_key()) != _spki(key.public_key()):
            raise Invalid(f"key {key_path} does not belong to certificate {cert_path}")
        return authority

    def save(self, directory: Path, name: str = "ca") -> tuple[Path, Path]:
        """Write ``<name>.crt`` and ``<name>.key`` into ``directory``; returns their paths."""
        return KeyPair(cert_pem=self.cert_pem, key_pem=self.key_pem).save(directory, name)

    def digest(self) -> str:
        """``sha256:<hex>`` of the authority's public key (SPKI, DER), as agents pin it.

        Of the key and not the certificate, so that a renewed certificate keeps its joins valid.
        """
        return digest_of(self.cert_pem)

    def issue(
        self,
        *,
        uri: str,
        dns: Sequence[str] = (),
        ips: Sequence[str] = (),
        lifetime: timedelta = LEAF_LIFETIME,
        client: bool = True,
        server: bool = False,
    ) -> KeyPair:
        """Make a key and a certificate for ``uri``, reachable as ``dns`` and ``ips``."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = (
            *(x509.DNSName(name) for name in dns),
            *(x509.IPAddress(ipaddress.ip_address(ip)) for ip in ips),
        )
        certificate = self._leaf(
            key.public_key(), uri, names, lifetime=lifetime, client=client, server=server
        )
        return KeyPair(cert_pem=certificate, key_pem=_key_pem(key))

    def sign_csr(self, csr_pem: bytes, *, uri: str, lifetime: timedelta) -> bytes:
        """Certify the key of a request as ``uri``, for a client.

        The request may name that URI or none. Raises ``Invalid`` when it is malformed, not signed
        by its own key, of another kind of key, or asks for anything else (CA, other names, key
        usages, unknown extensions).
        """
        try:
            request = x509.load_pem_x509_csr(csr_pem)
            signed = request.is_signature_valid
            extensions = request.extensions
        except (ValueError, InvalidSignature) as error:
            raise Invalid(
                "certificate request is malformed: send a PEM PKCS #10 request",
                reason="CSR_MALFORMED",
            ) from error
        if not signed:
            raise Invalid(
                "certificate request is not signed by its own key", reason="CSR_SIGNATURE_INVALID"
            )
        public = request.public_key()
        if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(
            public.curve, ec.SECP256R1
        ):
            raise Invalid(
                "certificate request has an unsupported key: use ECDSA P-256",
                reason="CSR_KEY_UNSUPPORTED",
            )
        for extension in extensions:
            _check_requested(extension.value, uri)
        return self._leaf(public, uri, (), lifetime=lifetime, client=True, server=False)

    def _leaf(
        self,
        public: ec.EllipticCurvePublicKey,
        uri: str,
        names: Sequence[x509.GeneralName],
        *,
        lifetime: timedelta,
        client: bool,
        server: bool,
    ) -> bytes:
        if lifetime <= timedelta(0):
            raise Invalid(f"lifetime {lifetime} is not positive")
        own, now = self._certificate(), self.clock.now()
        end = _not_after(own, now, lifetime)
        usages = [
            *([ExtendedKeyUsageOID.CLIENT_AUTH] if client else []),
            *([ExtendedKeyUsageOID.SERVER_AUTH] if server else []),
        ]
        if not usages:
            raise Invalid(f"certificate of {uri} is for nothing: set client, server or both")
        # People read the subject; nothing of ours does.
        label = uri.rsplit("/", 1)[-1][:64] or "cellplane"
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, label)]))
            .issuer_name(own.subject)
            .public_key(public)
            .serial_number(_serial(now))
            .not_valid_before(max(now - SKEW, own.not_valid_before_utc))
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri), *names]),
                critical=False,
            )
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key().public_key()),
                critical=False,
            )
        )
        return _pem(builder.sign(self._key(), hashes.SHA256()))

    def _certificate(self) -> x509.Certificate:
        return x509.load_pem_x509_certificate(self.cert_pem)

    def _key(self) -> ec.EllipticCurvePrivateKey:
        key = serialization.load_pem_private_key(self.key_pem, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise Invalid("key of the authority is not an ECDSA key")
        return key


def make_csr(key_pem: bytes | None, uri: str) -> tuple[bytes, bytes]:
    """Make a certificate request for ``uri`` with the given key, or a new one: (key, CSR), PEM."""
    if key_pem is None:
        key = ec.generate_private_key(ec.SECP256R1())
    else:
        loaded = serialization.load_pem_private_key(key_pem, password=None)
        if not isinstance(loaded, ec.EllipticCurvePrivateKey):
            raise Invalid("key of the request is not an ECDSA key")
        key = loaded
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if uri:
        request = request.add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=False
        )
    signed = request.sign(key, hashes.SHA256())
    return _key_pem(key), signed.public_bytes(serialization.Encoding.PEM)


def digest_of(cert_pem: bytes) -> str:
    """``sha256:<hex>`` of the public key (SPKI, DER) of a PEM certificate."""
    public = x509.load_pem_x509_certificate(cert_pem).public_key()
    return f"sha256:{hashlib.sha256(_spki(public)).hexdigest()}"


def validity(cert_pem: bytes) -> tuple[datetime, datetime]:
    """When a PEM certificate starts and ends, aware, in UTC."""
    certificate = x509.load_pem_x509_certificate(cert_pem)
    return certificate.not_valid_before_utc, certificate.not_valid_after_utc


def issued(cert_pem: bytes) -> datetime:
    """When a PEM certificate was issued, to the microsecond, by the clock of who issued it.

    Of a certificate from elsewhere, or of before serial numbers told it: when it starts.
    """
    certificate = x509.load_pem_x509_certificate(cert_pem)
    start = certificate.not_valid_before_utc
    micros = certificate.serial_number >> _RANDOM_BITS
    first, last = ((t - _EPOCH) // timedelta(microseconds=1) for t in (start, start + _NEAR))
    return _EPOCH + timedelta(microseconds=micros) if first <= micros <= last else start


def matches(cert_pem: bytes, key_pem: bytes) -> bool:
    """Whether the first certificate of a PEM file was made for that private key."""
    try:
        public = x509.load_pem_x509_certificate(cert_pem).public_key()
        private = serialization.load_pem_private_key(key_pem, password=None)
    except ValueError:
        return False
    return _spki(public) == _spki(private.public_key())


def _check_requested(value: x509.ExtensionType, uri: str) -> None:
    """Refuse whatever a request asks for beyond being ``uri``."""
    match value:
        case x509.SubjectAlternativeName():
            names = list(value)
            if names != [x509.UniformResourceIdentifier(uri)]:
                asked = ", ".join(str(name.value) for name in names)
                raise Invalid(
                    f"certificate request asks to be [{asked}]: ask for {uri} alone, or no name",
                    reason="CSR_NAME_REFUSED",
                    metadata={"uri": uri},
                )
        case x509.BasicConstraints():
            if value.ca:
                raise Invalid(
                    "certificate request asks to be an authority: remove ca:true",
                    reason="CSR_AUTHORITY_REFUSED",
                )
        case x509.KeyUsage():
            if value != _usage(signs_certificates=False):
                raise Invalid(
                    "certificate request asks for more than digitalSignature: remove key usages",
                    reason="CSR_USAGE_REFUSED",
                )
        case x509.ExtendedKeyUsage():
            if list(value) != [ExtendedKeyUsageOID.CLIENT_AUTH]:
                raise Invalid(
                    "certificate request asks for more than clientAuth: remove extended key usages",
                    reason="CSR_USAGE_REFUSED",
                )
        case x509.SubjectKeyIdentifier():
            pass
        case _:
            raise Invalid(
                f"certificate request asks for extension {value.oid.dotted_string}: remove it",
                reason="CSR_EXTENSION_REFUSED",
            )


def _serial(now: datetime) -> int:
    """Grows with time, so that of two certificates the newer one is known; 64 bits are random."""
    micros = (now - _EPOCH) // timedelta(microseconds=1)
    return (micros << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)


def _not_after(own: x509.Certificate, now: datetime, lifetime: timedelta) -> datetime:
    """A leaf never outlives its authority."""
    if own.not_valid_after_utc <= now:
        raise FailedPrecondition(
            f"authority expired at {own.not_valid_after_utc.isoformat()}: create a new one",
            reason="AUTHORITY_EXPIRED",
        )
    return min(now + lifetime, own.not_valid_after_utc)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _extension(
    extensions: x509.Extensions, kind: type[x509.BasicConstraints]
) -> x509.BasicConstraints | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _spki(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
