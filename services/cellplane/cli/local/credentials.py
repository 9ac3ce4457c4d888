"""Certificates of a control plane on this machine, and the profile that the command line reads.

One authority for services and users. Every service has a certificate of its own; keys are readable
by their owner alone, and stay in the state folder.
"""

from __future__ import annotations

import json

from cellplane.cli.local.layout import SERVICES, TRUST_DOMAIN, Layout
from cellplane.runtime.files import write_atomic
from cellplane.runtime.pki import Authority

USER = "admin"


def ensure(layout: Layout, *, organization: str) -> None:
    """Make what is missing: the authority, a certificate per service and user, the profile."""
    authority = _authority(layout)
    for service in SERVICES:
        if not (layout.pki / f"{service}.crt").exists():
            authority.issue(
                uri=f"spiffe://{TRUST_DOMAIN}/services/{service}",
                dns=["localhost"],
                ips=["127.0.0.1"],
                server=True,
            ).save(layout.pki, service)
    if not (layout.pki / f"{USER}.crt").exists():
        authority.issue(uri=f"spiffe://{TRUST_DOMAIN}/users/{USER}").save(layout.pki, USER)
    write_atomic(layout.client_profile, _profile(layout, organization).encode())


def _authority(layout: Layout) -> Authority:
    certificate, key = layout.pki / "ca.crt", layout.pki / "ca.key"
    if certificate.exists() and key.exists():
        return Authority.load(certificate, key)
    authority = Authority.create("cellplane on this machine")
    authority.save(layout.pki)
    return authority


def _profile(layout: Layout, organization: str) -> str:
    # A JSON string is a TOML string, too.
    lines = [f"organization = {json.dumps(organization)}", "", "[tls]"]
    for key, file in (("ca", "ca.crt"), ("cert", f"{USER}.crt"), ("key", f"{USER}.key")):
        lines.append(f"{key} = {json.dumps(str(layout.pki / file))}")
    lines += ["", "[services]"]
    lines += [f"{service} = {json.dumps(layout.address(service))}" for service in SERVICES]
    return "\n".join(lines) + "\n"
