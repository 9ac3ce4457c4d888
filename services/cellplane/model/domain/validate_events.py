"""What can be wrong with a subscription to events in itself.

Whether an address may be delivered to is found out when a connection is made: a name can lead
elsewhere by then.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from cellplane.cell.problem import Findings, Problem
from cellplane.model.domain.kinds import Kind, kind_of, organization_of
from cellplane.model.domain.resources import EventSubscription

_OWN: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def validate_event_subscription(subscription: EventSubscription) -> list[Problem]:
    """Find everything that is wrong with a subscription."""
    findings = Findings()
    _check_url(subscription.url, findings.at("url"))
    known = {kind.value for kind in Kind}
    for index, kind in enumerate(subscription.kinds):
        if kind not in known:
            findings.at("kinds").at(index).add(
                "KIND_UNKNOWN",
                f'"{kind}" is not a kind: write one of {", ".join(sorted(known))}',
                value=kind,
            )
    scope = subscription.scope
    if scope and kind_of(scope) is None:
        findings.at("scope").add(
            "NAME_INVALID",
            f'"{scope}" is not a name: write one such as organizations/acme/projects/boutique',
            value=scope,
        )
    elif scope and organization_of(scope) != organization_of(subscription.name):
        findings.at("scope").add(
            "OTHER_ORGANIZATION",
            f'"{scope}" belongs to another organization than {subscription.name}: name one of '
            "its own",
            value=scope,
        )
    return findings.problems


def _check_url(url: str, at: Findings) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    if not host or parts.scheme not in ("https", "http"):
        at.add(
            "URL_INVALID",
            f'"{url}" is not a URL to deliver to: write one such as https://example.com/hook',
            value=url,
        )
    elif parts.scheme == "http" and host not in _OWN:
        at.add("URL_NOT_SECURE", f'"{url}" is not encrypted: write https', value=url)
    elif parts.username is not None or parts.password is not None:
        # Shown to nobody: it holds what was meant as a secret.
        at.add(
            "URL_HAS_CREDENTIALS",
            "the URL has a user or a password in it: leave them out, and check the signature",
        )
    elif parts.fragment:
        at.add("URL_INVALID", f'"{url}" has a fragment, which is never sent: remove it', value=url)
