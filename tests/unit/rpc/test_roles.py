"""The file of roles: what it gives, what is wrong with it, and that it is taken as it changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cellplane.cell.problem import Invalid
from cellplane.rpc.access import EVERYWHERE
from cellplane.rpc.identity import CallerKind, Principal
from cellplane.rpc.roles import RoleFile
from cellplane.rpc.sight import covers, meets

_SHOP = "organizations/acme/projects/shop"
_GOOD = f"""
[roles]
reader = ["*.get", "*.list"]

[[bindings]]
users = ["ann", "bob"]
role = "reader"
resources = ["{_SHOP}"]

[[bindings]]
users = ["bob"]
permissions = ["components.*"]
"""


def scopes(roles: RoleFile, user: str, permission: str) -> tuple[str, ...]:
    return roles.scopes(Principal(kind=CallerKind.USER, name=user), permission)


def test_a_binding_gives_its_permissions_for_its_resources(tmp_path: Path) -> None:
    """By either part of a permission; what is given everywhere wins, what is not given is not."""
    (tmp_path / "roles").write_text(_GOOD)
    roles = RoleFile(tmp_path / "roles")
    assert scopes(roles, "ann", "components.get") == (_SHOP,)
    assert scopes(roles, "ann", "components.create") == ()
    assert scopes(roles, "bob", "components.get") == EVERYWHERE
    assert scopes(roles, "bob", "projects.get") == (_SHOP,)
    assert scopes(roles, "admin", "projects.get") == ()


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("roles = 3", {"roles"}),
        ("[roles]\na = 'x'\n[[bindings]]\nuser = 'a'", {"roles.a", "bindings[0].user"}),
        ("[[bindings]]\nusers = ['a']", {"bindings[0]"}),
        ("[[bindings]]\nusers = ['a']\nrole = 'no'", {"bindings[0].role"}),
        (
            "[[bindings]]\npermissions = ['*']\nresources = ['acme', '']",
            {"bindings[0].resources"},
        ),
        (
            "[[bindings]]\npermissions = ['*']\nresources = ['acme', 'organizations']",
            {"bindings[0].resources[0]", "bindings[0].resources[1]"},
        ),
        ("bindings = 3\nmore = 1", {"bindings", "more"}),
    ],
)
def test_all_that_is_wrong_is_told(tmp_path: Path, text: str, fields: set[str]) -> None:
    """Each finding with its place in the file."""
    (tmp_path / "roles").write_text(text)
    with pytest.raises(Invalid) as refused:
        RoleFile(tmp_path / "roles")
    assert fields <= {problem.field for problem in refused.value.problems}


def test_a_file_that_changes_is_taken_and_one_that_breaks_is_not(tmp_path: Path) -> None:
    """The new roles hold within seconds; a broken file leaves those that held."""
    path = tmp_path / "roles"
    path.write_text(_GOOD)
    now = 0.0
    roles = RoleFile(path, clock=lambda: now)
    assert scopes(roles, "ann", "components.get")
    path.write_text("[[bindings]]\nusers = ['cid']\npermissions = ['*']\n")
    os.utime(path, ns=(1, 1))
    assert scopes(roles, "cid", "components.get") == ()
    now += 2.0
    assert scopes(roles, "cid", "components.get") == EVERYWHERE
    assert scopes(roles, "ann", "components.get") == ()
    path.write_text("nonsense")
    now += 2.0
    assert scopes(roles, "cid", "components.get") == EVERYWHERE


@pytest.mark.parametrize(
    ("scope", "name", "covered", "met"),
    [
        ("", "organizations/acme", True, True),
        (_SHOP, _SHOP, True, True),
        (_SHOP, f"{_SHOP}/components/cart", True, True),
        (_SHOP, f"{_SHOP}s", False, False),
        (_SHOP, "organizations/acme", False, True),
        (_SHOP, "organizations/acme/projects/-", False, True),
        (_SHOP, "organizations/-/projects/-/components/-", False, True),
        (_SHOP, "organizations/acme/projects/pay/components/-", False, False),
        (_SHOP, "organizations/acme/environments/-", False, False),
        (_SHOP, "", False, True),
    ],
)
def test_a_scope_is_a_resource_and_what_is_below(
    scope: str, name: str, covered: bool, met: bool
) -> None:
    """Never by a prefix of a name; a pattern is met where something below it can be in scope."""
    assert covers((scope,), name) is covered
    assert meets((scope,), name) is met
