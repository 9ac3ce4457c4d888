"""The keys of one sandbox cluster: a certificate authority of its own, and who it vouches for.

Everything lies in the cluster's state folder, readable by its owner alone, and ends with it. Keys
survive a restart, so that a kubeconfig handed out before it still opens the cluster after it.
"""

import base64
import datetime as dt
import ipaddress
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = dt.timedelta(days=365)

_SERVER_NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
_SERVER_ADDRESSES = ("127.0.0.1", "10.96.0.1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A certificate authority in a folder."""

    folder: Path

    @property
    def certificate(self) -> Path:
        return self.folder / "ca.crt"

    @property
    def key(self) -> Path:
        return self.folder / "ca.key"

    @property
    def service_account_key(self) -> Path:
        """Signs and checks the tokens of ServiceAccounts."""
        return self.folder / "service-account.key"

    def server(self) -> tuple[Path, Path]:
        """Certificate and key of the API server."""
        return self.folder / "apiserver.crt", self.folder / "apiserver.key"


def open_authority(folder: Path) -> Authority:
    """The authority in the folder; a new one, with the API server's keys, if there is none."""
    authority = Authority(folder=folder)
    if authority.service_account_key.exists():
        return authority
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cellplane sandbox")])
    certificate = (
        _builder(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    write_private(authority.key, _key_pem(key))
    write_private(authority.certificate, _pem(certificate))
    alternatives: list[x509.GeneralName] = [x509.DNSName(each) for each in _SERVER_NAMES]
    alternatives += [x509.IPAddress(ipaddress.ip_address(each)) for each in _SERVER_ADDRESSES]
    signed, server_key = _issue(
        authority,
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")]),
        ExtendedKeyUsageOID.SERVER_AUTH,
        alternatives,
    )
    for path, pem in zip(authority.server(), (signed, server_key), strict=True):
        write_private(path, pem)
    # Written last: its presence says that the folder is whole.
    service_account_key = ec.generate_private_key(ec.SECP256R1())
    write_private(authority.service_account_key, _key_pem(service_account_key))
    return authority


def kubeconfig(
    authority: Authority, *, server: str, cluster: str, user: str, groups: Sequence[str] = ()
) -> str:
    """A kubeconfig (JSON, which is YAML) with a new client certificate for this user."""
    subject = x509.Name(
        [
            *(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups),
            x509.NameAttribute(NameOID.COMMON_NAME, user),
        ]
    )
    certificate, key = _issue(authority, subject, ExtendedKeyUsageOID.CLIENT_AUTH, ())
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": cluster,
            "clusters": [
                {
                    "name": cluster,
                    "cluster": {
                        "server": server,
                        "certificate-authority-data": _base64(authority.certificate.read_bytes()),
                    },
                }
            ],
            "users": [
                {
                    "name": user,
                    "user": {
                        "client-certificate-data": _base64(certificate),
                        "client-key-data": _base64(key),
                    },
                }
            ],
            "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user}}],
        },
        indent=2,
    )


def write_private(path: Path, content: bytes) -> None:
    """Replace the file in one step; nobody else can read it at any moment."""
    scratch = path.with_name(f".{path.name}.new")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    scratch.rename(path)


def _issue(
    authority: Authority,
    subject: x509.Name,
    usage: x509.ObjectIdentifier,
    alternatives: Sequence[x509.GeneralName],
) -> tuple[bytes, bytes]:
    """Certificate and key, as PEM."""
    issuer = x509.load_pem_x509_certificate(authority.certificate.read_bytes())
    issuer_key = serialization.load_pem_private_key(authority.key.read_bytes(), password=None)
    if not isinstance(issuer_key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{authority.key} is not an elliptic key; delete its folder")
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(subject, issuer.subject, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return _pem(builder.sign(issuer_key, hashes.SHA256())), _key_pem(key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # Clocks that were just set back must not make a fresh certificate one of the future.
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    # The one form in which Kubernetes reads an elliptic ServiceAccount key for checking, too.
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
