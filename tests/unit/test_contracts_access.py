"""Every method of the API declares who may call it."""

from __future__ import annotations

import importlib

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

from cellplane.rpc import contracts
from cellplane.rpc.access import read_rules, rule_of
from cellplane.rpc.identity import CallerKind
from cellplane.rpc.sight import subjects_of


def services() -> list[ServiceDescriptor]:
    """Every service of the contracts."""
    found: list[ServiceDescriptor] = []
    for file in contracts.load().file:
        if not file.package.startswith("cellplane.api."):
            continue
        importlib.import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2")
        found += descriptor_pool.Default().FindFileByName(file.name).services_by_name.values()
    return found


def test_every_method_declares_access() -> None:
    """No method of any service lacks an access option, so that no server refuses to start."""
    found = services()
    assert found
    missing = [
        method.full_name
        for service in found
        for method in service.methods
        if rule_of(method) is None
    ]
    assert missing == []
    assert len(read_rules(found)) == sum(len(service.methods) for service in found)


def test_only_joining_is_for_anyone() -> None:
    """What answers without a certificate is in the join service alone."""
    rules = read_rules(services())
    opened = [path for path, rule in rules.items() if CallerKind.ANYONE in rule.callers]
    assert {path.split("/")[1] for path in opened} <= {"cellplane.api.agent.v1.JoinService"}


def test_permissions_are_collection_and_verb() -> None:
    """A permission reads `collection.verb`, in lower camel case."""
    rules = read_rules(services())
    odd = [
        rule.permission
        for rule in rules.values()
        if rule.permission and not all(part.isalpha() for part in rule.permission.split("."))
    ]
    assert odd == []


def test_what_people_call_is_about_resources() -> None:
    """Every method for users says which resources it is about, so that roles can be narrow.

    But what is about none that exists: a new organization, and the compilers.
    """
    rules = read_rules(services())
    about_none = set()
    for service in services():
        for method in service.methods:
            rule = rules[f"/{service.full_name}/{method.name}"]
            if CallerKind.USER in rule.callers:
                found = subjects_of(method, rule)
                if not (found.fields or found.listed or found.changes):
                    about_none.add(method.name)
    assert about_none == {"CreateOrganization", "Compile", "CompilePlatform"}
