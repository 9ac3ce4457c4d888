"""What can be wrong with documents, and where the finding says that it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cellplane.cli.documents import nodes
from cellplane.cli.documents.load import load
from cellplane.cli.exits import Ended
from cellplane.cli.render.document import document

HEAD = """kind: Component
name: projects/boutique/components/cart
componentKind: SERVICE
workload:
  image: example:1
"""
ENDPOINTS = """endpoints:
  - endpoint: web
    protocol: HTTP
"""
CONNECTIONS = """connections:
  - connection: a
    componentEndpoint:
      component: {component}
      endpoint: web
"""

# What is written, the line, the field's path, and a part of the message.
BAD = {
    "unknown field": (f"{HEAD}colour: red\n", 6, "colour", "not a field of Component"),
    "misspelt field": (f"{HEAD}endpoint: []\n", 6, "endpoint", 'did you mean "endpoints"?'),
    "field one level up": (f"{HEAD}replicas: 3\n", 6, "replicas", "a field of workload"),
    "unknown field inside": (f"{HEAD}  imag: x\n", 6, "workload.imag", 'did you mean "image"?'),
    "port out of range": (f"{HEAD}{ENDPOINTS}    port: 70000\n", 9, "endpoints[0].port", "65535"),
    "port of another type": (
        f"{HEAD}{ENDPOINTS}    port: eighty\n",
        9,
        "endpoints[0].port",
        "not a whole number",
    ),
    "port in quotes": (f'{HEAD}{ENDPOINTS}    port: "80"\n', 9, "endpoints[0].port", "quotes"),
    "port beyond any": (f"{HEAD}{ENDPOINTS}    port: 9{'9' * 99}\n", 9, "endpoints[0].port", "out"),
    "no port": (f"{HEAD}{ENDPOINTS}", 7, "endpoints[0].port", ""),
    "unknown protocol": (
        f"{HEAD}endpoints:\n  - endpoint: web\n    protocol: gprc\n    port: 80\n",
        8,
        "endpoints[0].protocol",
        "did you mean GRPC?",
    ),
    "number where text is wanted": (
        f"{HEAD}  env:\n    - name: PORT\n      value: 8080\n",
        8,
        "workload.env[0].value",
        'write "8080"',
    ),
    "truth where text is wanted": (
        f"{HEAD}  env:\n    - name: ON\n      value: true\n",
        8,
        "workload.env[0].value",
        'write "true"',
    ),
    "text where a list is wanted": (f"{HEAD}endpoints: web\n", 6, "endpoints", "a list is wanted"),
    "list where text is wanted": (f"{HEAD}displayName: [a]\n", 6, "display_name", "is a list"),
    "text where fields are wanted": (
        HEAD.replace("workload:\n  image: example:1", "workload: example:1"),
        4,
        "workload",
        "fields are wanted",
    ),
    "neither true nor false": (f"{HEAD}autoDeploy: maybe\n", 6, "auto_deploy", "true nor false"),
    "no duration": (
        f"{HEAD}  readinessProbe: {{endpoint: web, period: 20}}\n",
        6,
        "workload.readiness_probe.period",
        "such as 20s",
    ),
    "key twice": (f"{HEAD}  image: other:1\n", 6, "workload.image", "first in line 5"),
    "key twice, in both spellings": (
        f"{HEAD}component_kind: SERVICE\n",
        6,
        "component_kind",
        "there twice",
    ),
    "key of a map twice": (f"{HEAD}annotations: {{a: b, a: c}}\n", 6, 'annotations["a"]', "twice"),
    "both of two that exclude": (
        HEAD + CONNECTIONS.format(component="projects/p/components/c") + "    externalHost:\n"
        "      host: a.example\n      port: 1\n      protocol: TCP\n",
        11,
        "connections[0].external_host",
        "excludes component_endpoint",
    ),
    "reference that is no name": (
        HEAD + CONNECTIONS.format(component="cart"),
        9,
        "connections[0].component_endpoint.component",
        "write projects/*/components/*",
    ),
    "reference of another kind": (
        HEAD + CONNECTIONS.format(component="projects/cart"),
        9,
        "connections[0].component_endpoint.component",
        "not the name of a component",
    ),
    "name of 70 characters": (
        HEAD.replace("/cart", "/" + "a" * 70),
        2,
        "name",
        "has 70 characters, and 63 is the most",
    ),
    "name with capitals": (HEAD.replace("/cart", "/Cart"), 2, "name", "lower case"),
    "name of another kind": (HEAD.replace("components/", "cells/"), 2, "name", "components/*"),
    "no name": ("kind: Project\ndeploymentPipeline: deploymentPipelines/a\n", 1, "name", "missing"),
    "no component kind": (
        HEAD.replace("componentKind: SERVICE\n", ""),
        1,
        "component_kind",
        "write one of SERVICE",
    ),
    "no image": (HEAD.replace("image: example:1", "replicas: 1"), 4, "workload.image", "missing"),
    "no kind": ("name: projects/a\n", 1, "kind", "missing"),
    "misspelt kind": ("kind: Componnent\nname: a\n", 1, "kind", 'did you mean "Component"?'),
    "kind that nobody writes": ("kind: Cell\nname: a\n", 1, "kind", "documents can have"),
    "other version": (f"{HEAD}apiVersion: v2\n", 6, "apiVersion", "cellplane.dev/v1"),
    "rule across fields": (
        f"{HEAD}  autoscaling: {{minReplicas: 3, maxReplicas: 2}}\n",
        6,
        "workload.autoscaling",
        "max_replicas must not be less",
    ),
    "tab": ("kind: Component\n\tname: x\n", 2, "", "use spaces"),
    "not YAML": ("kind: [Component\nname: x\n", 2, "", "is not YAML"),
    "no fields": ("- a\n- b\n", 1, "", "write kind, name and fields"),
    "merge key": (f"{HEAD}annotations:\n  <<: {{a: b}}\n", 7, "", "write the fields out"),
    "unknown alias": (f"{HEAD}annotations: *nowhere\n", 6, "", "alias"),
    "empty": ("", 0, "", "no document"),
    "comments alone": ("# nothing\n---\n# here\n", 0, "", "no document"),
}


def findings(file: Path) -> tuple[str, ...]:
    """Read a file or a folder that is not right."""
    with pytest.raises(Ended) as ended:
        load([str(file)], "acme")
    return tuple(ended.value.findings)


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_named_where_it_stands(tmp_path: Path, case: str) -> None:
    """A finding has the file, the line, the field's path, and the way out."""
    text, line, path, words = BAD[case]
    file = tmp_path / "bad.yaml"
    file.write_text(text)

    found = findings(file)

    place = f"{file}:{line}: " if line else f"{file}: "
    head = f"{place}{path}: " if path else place
    assert any(f.startswith(head) and words in f for f in found), found


def test_all_findings_of_all_files_come_at_once(tmp_path: Path) -> None:
    """Every document of every file is read to its end, whatever the one before was like."""
    (tmp_path / "a.yaml").write_text(f"{HEAD}{ENDPOINTS}    port: 0\ncolour: red\n---\nkind: X\n")
    (tmp_path / "b.yaml").write_text("kind: [\n")
    (tmp_path / "c.yaml").write_text(HEAD.replace("/cart", "/other"))

    found = findings(tmp_path)

    assert [f.removeprefix(f"{tmp_path}/").split(": ")[0] for f in found] == [
        "a.yaml:9",
        "a.yaml:10",
        "a.yaml:12",
        "b.yaml:2",
    ]


def test_one_resource_stands_in_one_document(tmp_path: Path) -> None:
    """A name that is written twice is refused, with the first place."""
    (tmp_path / "a.yaml").write_text(HEAD)
    (tmp_path / "b.yaml").write_text(f"# again\n{HEAD}")

    name = "organizations/acme/projects/boutique/components/cart"
    twice = f'"{name}" is written twice, first at {tmp_path}/a.yaml:2: keep one'
    assert findings(tmp_path) == (f"{tmp_path}/b.yaml:3: name: {twice}",)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    """A file of 10 MB is refused by its size."""
    file = tmp_path / "big.yaml"
    file.write_bytes(b"# " + b"x" * 10_000_000)

    assert findings(file) == (
        f"{file}: has 10,000,002 bytes, and 4,194,304 is the most: split it into several files",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: " + "[" * 5000 + "]" * 5000, "nested deeper than 32 levels"),
        ("a: &a [*a]", "stands inside of what it names"),
        ("a: &a [x]\nb: [" + "*a, " * 200 + "]", "more than 100 aliases"),
        (
            "a0: &a0 [x, x, x, x, x, x, x, x]\n"
            + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]\n" for n in range(1, 10)),
            "more than 200,000 values",
        ),
    ],
    ids=["depth", "loop", "aliases", "bomb"],
)
def test_what_would_grow_without_end_is_refused(text: str, words: str) -> None:
    """Depth, aliases and the number of values are bounded before anything is built of them."""
    with pytest.raises(nodes.Broken) as broken:
        list(nodes.parse(text.encode(), "bad.yaml"))

    assert words in str(broken.value)


def test_text_that_is_not_utf8_is_refused() -> None:
    """Bytes that are no text have a line, too."""
    with pytest.raises(nodes.Broken) as broken:
        list(nodes.parse(b"kind: Project\nname: \xff\xfe\n", "bad.yaml"))

    assert str(broken.value.finding) == "bad.yaml:2: is not UTF-8: save it as UTF-8"


def test_both_spellings_and_short_words_mean_the_same(tmp_path: Path) -> None:
    """Field names in snake and camel case, and enum values with and without prefix, are equal."""
    (tmp_path / "a.yaml").write_text(f"{HEAD}{ENDPOINTS}    port: 80\n    targetPort: 8080\n")
    long = HEAD.replace("componentKind: SERVICE", "component_kind: COMPONENT_KIND_SERVICE")
    ports = ENDPOINTS.replace("HTTP", "PROTOCOL_HTTP") + "    port: 80\n    target_port: 8080\n"
    (tmp_path / "b.yaml").write_text(long + ports)

    (short,), (written,) = (load([str(tmp_path / f"{name}.yaml")], "acme") for name in "ab")

    assert short.resource == written.resource


def test_names_and_references_are_relative_to_the_organization(tmp_path: Path) -> None:
    """The same document serves every organization; full names stay as they are."""
    file = tmp_path / "a.yaml"
    file.write_text(
        HEAD + CONNECTIONS.format(component="organizations/other/projects/p/components/c")
    )

    (one,) = load([str(file)], "paper")

    assert one.name == "organizations/paper/projects/boutique/components/cart"
    resource: object = one.resource
    target = resource.connections[0].component_endpoint.component  # type: ignore[attr-defined]
    assert target == "organizations/other/projects/p/components/c"


def test_fields_that_only_the_server_sets_are_read_over(tmp_path: Path) -> None:
    """What `get -o json` prints can be applied again; what is left out is said."""
    file = tmp_path / "a.yaml"
    file.write_text(f"{HEAD}uid: abc\ncreateTime: 2026-01-01T00:00:00Z\n")
    ignored: list[object] = []

    (one,) = load([str(file)], "acme", ignored)  # type: ignore[arg-type]

    assert [str(f) for f in ignored] == [
        f"{file}:6: uid: only the server sets it",
        f"{file}:7: create_time: only the server sets it",
    ]
    resource: object = one.resource
    assert resource.uid == ""  # type: ignore[attr-defined]


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), max_size=5),
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=9), st.text("a1:#-")
    ),
)
def test_what_is_written_is_read_again(texts: list[str], notes: dict[str, str]) -> None:
    """Any text survives being printed as a document and read again."""
    from cellplane.cli.documents.load import read
    from cellplane.cli.kinds import by_name

    kind = by_name("Component")
    before = kind.message(
        name="organizations/acme/projects/p/components/c",
        component_kind=1,
        workload={"image": "a", "args": texts},
        annotations=notes,
    )

    (node,) = nodes.parse(document(kind, before).encode(), "a.yaml")
    again, wrong, _ = read(node, "acme")

    assert wrong == []
    assert again is not None
    assert again.resource == before
