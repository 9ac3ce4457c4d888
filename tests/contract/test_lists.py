"""Lists: pages, filters and orders over a real store (AIP-132, 158, 160, 231)."""

from __future__ import annotations

import random
import uuid
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from cellplane.api.model.v1 import component_pb2, project_pb2
from cellplane.api.type.v1 import endpoint_pb2, workload_pb2
from cellplane.cell.problem import Invalid, NotFound
from cellplane.resource.filter import sql
from cellplane.resource.filter.asked import Asked
from cellplane.resource.filter.bind import Path, bind
from cellplane.resource.filter.document import document_of
from cellplane.resource.filter.match import matches
from cellplane.resource.ordering import first, parse
from cellplane.store.database import Database
from cellplane.store.listing import read_page
from cellplane.store.resources import Resources, Stored
from tests.contract.conftest import START, TestClock
from tests.contract.methods import SHOP, WEB, Api, create_project, create_web, update_project

pytestmark = pytest.mark.asyncio

NAMES = ("ab", "abc", "b-b", "c", "zz")


async def make_projects(api: Api, clock: TestClock, count: int = 30) -> list[project_pb2.Project]:
    """Projects that differ, and are alike, in many ways."""
    made: list[project_pb2.Project] = []
    for number in range(count):
        clock.time = clock.time.replace(minute=number % 4, microsecond=number % 3)
        own = f"{NAMES[number % len(NAMES)]}-{number}"
        made.append(
            await api.projects.create(
                create_project(
                    own,
                    display_name=("", "Ab_*", "ab%", "Zoë", "ab")[number % 5],
                    annotations={"env": ("prod", "dev")[number % 2], f"k{number % 3}": "x"},
                )
            )
        )
    return made


async def walk(
    api: Api, *, size: int = 7, **fields: Any
) -> tuple[list[str], list[project_pb2.ListProjectsResponse]]:
    """Names over all pages, and the pages."""
    seen: list[str] = []
    pages: list[project_pb2.ListProjectsResponse] = []
    token = ""
    while True:
        request = project_pb2.ListProjectsRequest(
            parent="organizations/-", page_size=size, page_token=token, **fields
        )
        page = await api.projects.list(request, project_pb2.ListProjectsResponse())
        pages.append(page)
        seen += [project.name for project in page.projects]
        token = page.next_page_token
        if not token:
            return seen, pages


times = st.sampled_from(
    ["2026-01-01T00:01:00Z", "2026-01-01T00:02:00.000001Z", "2026-01-01T00:01:00.0000015Z"]
)
texts = st.sampled_from(['"ab"', '"ab*"', '"*b*"', '"Ab_*"', '"ab%"', '"Zo?"', '""', '"*"', "zz*"])
orderings = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
leaves = st.one_of(
    st.builds("{} {} {}".format, st.sampled_from(["create_time", "update_time"]), orderings, times),
    st.builds(
        "{} {} {}".format,
        st.sampled_from(["name", "uid"]),
        st.sampled_from(["=", "!=", ":"]),
        texts,
    ),
    st.builds(
        "name {} {}".format,
        orderings,
        st.sampled_from([f'"organizations/acme/projects/{n}"' for n in NAMES]),
    ),
    st.builds("name = {}".format, st.sampled_from(['"*/ab-*"', '"*-1*"', '"*[a]*"'])),
    st.builds("display_name {} {}".format, st.sampled_from(["=", "!="]), texts),
    st.sampled_from(['annotations.env = "prod"', "annotations:k1", "ab", "reconciling = true"]),
)
filters = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds("({} OR {})".format, inner, inner),
        st.builds("({} AND {})".format, inner, inner),
        st.builds("NOT {}".format, inner),
    ),
    max_leaves=6,
)
FIELDS = (
    (
        "display_name annotations.k annotations.`a.b` workload workload.image workload.command "
        "workload.env workload.env.name workload.env.value workload.resources "
        "workload.resources.cpu_request workload.args endpoints endpoints.endpoint endpoints.port "
        "endpoints.protocol endpoints.visibilities endpoints.requires_grant "
        "endpoints.traffic_policy endpoints.traffic_policy.timeouts.request "
        "connections connections.component_endpoint.component connections.external_host.port "
        "component_kind auto_deploy latest_release"
    )
    .replace("`", '"')
    .split()
)
VALUES = (
    *("SERVICE", "WORKER", "80", "443", "0", "true", "false", "HTTP", "PUBLIC", "1s", "2.5s"),
    *('""', '"x"', '"X"', '"a b"', '"x*"', '"*"', '"*\u00e9"', '"[a]*"', '"a_%"', "*", '"\x01"'),
)


def is_asked(filter: str) -> bool:
    """Whether it means something: fields and values are put together blindly."""
    try:
        bind(filter, component_pb2.Component.DESCRIPTOR)
    except Invalid:
        return False
    return True


asked_of_fields = {
    path: [
        text
        for comparator in (":", "=", "!=", "<", ">=")
        for value in VALUES
        if is_asked(text := f"{path} {comparator} {value}")
    ]
    for path in FIELDS
}
words = st.sampled_from(["x", '"a b"', "STRASSE", '"c*1"', "components"])
fields_asked = st.recursive(
    st.one_of(
        st.sampled_from(FIELDS).flatmap(lambda path: st.sampled_from(asked_of_fields[path])), words
    ),
    lambda inner: st.one_of(
        st.builds("({} OR {})".format, inner, inner),
        st.builds("({} AND {})".format, inner, inner),
        st.builds("NOT {}".format, inner),
    ),
    max_leaves=4,
)


def strange(number: int) -> component_pb2.Component:
    """A component of which any field may be there, be nothing, or be its default."""
    chance = random.Random(number)  # noqa: S311 - no secret
    texts = ("", "x", "X", "a b", "xé", "[a]b", "a_%", "\0", "\1", "x\0", "Stra\u00dfe")

    def some(*given: Any) -> Any:
        return chance.choice(given)

    made = component_pb2.Component(
        name=f"{SHOP}/components/c{number}",
        display_name=some(*texts),
        component_kind=some(*workload_pb2.ComponentKind.values()),
        annotations={key: some(*texts) for key in ("k", "a.b", 'q"]') if some(True, False)},
    )
    if some(True, True, False):
        made.workload.image = some(*texts)
        made.workload.args.extend(some([], ["x"], ["a b", "x", "x"]))
        for _ in range(some(0, 1, 3)):
            made.workload.env.add(name=some(*texts), value=some(*texts))
        if some(True, False):
            made.workload.resources.cpu_request = some(*texts)
    for _ in range(some(0, 1, 2, 3)):
        endpoint = made.endpoints.add(
            endpoint=some(*texts),
            port=some(0, 80, 443),
            protocol=some(*endpoint_pb2.Protocol.values()),
            visibilities=some([], [endpoint_pb2.VISIBILITY_PUBLIC]),
            requires_grant=some(True, False),
        )
        if some(True, False):
            endpoint.traffic_policy.SetInParent()
        if some(True, False):
            endpoint.traffic_policy.timeouts.request.FromTimedelta(
                timedelta(seconds=some(0, 1, 2.5))
            )
    for _ in range(some(0, 0, 2)):
        connection = made.connections.add(connection=some(*texts))
        if some(True, False):
            connection.component_endpoint.component = some(*texts)
        else:
            connection.external_host.port = some(0, 443)
    return made


def examples(strategy: st.SearchStrategy[str], count: int) -> list[str]:
    """As many filters."""
    asked: list[str] = []

    @settings(max_examples=count, deadline=None, database=None)
    @given(strategy)
    def collect(filter: str) -> None:
        asked.append(filter)

    collect()
    return asked


def row_of(database: Database, resources: Resources, *, without: str = "") -> sql.Row:
    """What may be asked of a row."""
    t = resources.tables.resources

    def column(path: Path) -> sa.ColumnElement[Any] | None:
        name = path[0].field.name
        return t.c[name] if name in ("name", "uid", "create_time", "update_time") else None

    return sql.Row(
        columns=column,
        document=Asked(name=t.c.name, fields=t.c.fields, lists=t.c.lists, dialect=database.dialect),
        stored=lambda path: path[0].field.name != without,
    )


orders = st.lists(
    st.builds(
        "{}{}".format,
        st.sampled_from(["display_name", "create_time", "update_time", "annotations.k1", "name"]),
        st.sampled_from(["", " desc"]),
    ),
    max_size=3,
    unique_by=lambda term: term.split()[0],
).map(", ".join)


async def test_what_sql_answers_is_what_messages_answer(
    api: Api, database: Database, resources: Resources, clock: TestClock
) -> None:
    """Any filter asked of SQL holds for the same rows as asked of messages, or for more of them
    where it asks for what only messages have."""
    made = await make_projects(api, clock)
    asked = examples(filters, 250)
    exact = less = 0
    async with database.snapshot() as tx:
        for text in asked:
            bound = bind(text, project_pb2.Project.DESCRIPTOR)
            row = row_of(database, resources, without="reconciling")
            condition = sql.condition(bound, row)
            if condition is None:
                continue
            rows = await read_page(
                tx, resources, kind="Project", parent="", where=condition.clause, limit=100
            )
            found = {row.name for row in rows}
            wanted = {project.name for project in made if matches(bound, project)}
            assert found == wanted if condition.exact else found >= wanted, text
            exact += condition.exact
            less += not condition.exact
    assert exact > 50
    assert less > 0


async def test_documents_answer_for_every_field(database: Database, resources: Resources) -> None:
    """Maps, lists, lists in lists, enums, times, presence and wildcards are asked of SQL alone,
    and what it answers is what messages answer, to the row."""
    made = [strange(number) for number in range(40)]
    async with database.transaction() as tx:
        for message in made:
            document = document_of(message)
            await resources.put(
                tx,
                Stored(
                    name=message.name,
                    kind="Component",
                    uid=message.name,
                    create_time=START,
                    update_time=START,
                    payload=message.SerializeToString(),
                    fields=document.fields,
                    lists=document.lists,
                ),
            )
    row = row_of(database, resources)
    split = 0
    async with database.snapshot() as tx:
        for text in examples(fields_asked, 250):
            bound = bind(text, component_pb2.Component.DESCRIPTOR)
            condition = sql.condition(bound, row)
            assert condition is not None
            assert condition.exact
            rows = await read_page(
                tx, resources, kind="Component", parent="", where=condition.clause, limit=100
            )
            wanted = [message.name for message in made if matches(bound, message)]
            assert [row.name for row in rows] == sorted(wanted), text
            split += 0 < len(wanted) < len(made)
    assert split > 50


async def test_what_is_not_described_is_looked_at(
    api: Api, database: Database, resources: Resources
) -> None:
    """A row that an older version has written without a document is found nevertheless."""
    await api.projects.create(create_project("old", display_name="x"))
    async with database.transaction() as tx:
        t = resources.tables.resources
        await tx.execute(sa.update(t).values(fields=None, lists=None))
    for text, there in (('display_name = "x"', 1), ('NOT display_name = "x"', 0)):
        seen, _ = await walk(api, filter=text)
        assert len(seen) == there


async def test_pages_are_the_sorted_matches(api: Api, clock: TestClock) -> None:
    """Whatever is filtered and ordered by, pages of any size follow each other as the sorted
    matches do, and none but the last is short."""
    made = await make_projects(api, clock)
    asked: list[tuple[str, str, int]] = []

    @settings(max_examples=120, deadline=None, database=None)
    @given(filters, orders, st.integers(1, 40))
    def collect(filter: str, order: str, size: int) -> None:
        asked.append((filter, order, size))

    collect()
    for project in made:
        project.reconciling = True
    for text, order, size in asked:
        bound = bind(text, project_pb2.Project.DESCRIPTOR)
        terms = parse(order, project_pb2.Project.DESCRIPTOR)
        hits = [project for project in made if matches(bound, project)]
        wanted = [p.name for _, p in first(hits, terms, after=None, count=1000)]
        seen, pages = await walk(api, size=size, filter=text, order_by=order)
        assert seen == wanted, (text, order)
        assert all(len(page.projects) == size for page in pages[:-1])


async def test_pages_hold_every_resource_once(api: Api) -> None:
    """Pages follow by token, the last has none; the parent may be read across."""
    for number in range(7):
        await api.projects.create(create_project(f"p{number}"))
    seen: list[str] = []
    token = ""
    while True:
        request = project_pb2.ListProjectsRequest(
            parent="organizations/-", page_size=3, page_token=token
        )
        page = await api.projects.list(request, project_pb2.ListProjectsResponse())
        assert all(project.reconciling for project in page.projects)
        seen += [project.name for project in page.projects]
        token = page.next_page_token
        if not token:
            break
    assert seen == [f"organizations/acme/projects/p{number}" for number in range(7)]
    foreign = project_pb2.ListProjectsRequest(parent="organizations/acme", page_token="dG9rZW4")
    with pytest.raises(Invalid):
        await api.projects.list(foreign, project_pb2.ListProjectsResponse())


@pytest.mark.parametrize("order", ["", "display_name desc", "create_time", "name desc"])
async def test_what_nobody_touches_is_seen_once(api: Api, clock: TestClock, order: str) -> None:
    """B 28: rows that come and go while pages are walked move no other row."""
    made = [project.name for project in await make_projects(api, clock, 20)]
    seen: list[str] = []
    token = ""
    for number in range(100):
        request = project_pb2.ListProjectsRequest(
            parent="organizations/acme", page_size=3, page_token=token, order_by=order
        )
        page = await api.projects.list(request, project_pb2.ListProjectsResponse())
        seen += [project.name for project in page.projects]
        token = page.next_page_token
        if not token:
            break
        await api.projects.create(create_project(f"new-{number}", display_name="new"))
        gone = made[number * 2 + 1]
        if number < 5:
            await api.projects.delete(project_pb2.DeleteProjectRequest(name=gone))
    untouched = {name for index, name in enumerate(made) if index % 2 == 0 or index > 10}
    assert len(seen) == len(set(seen))
    assert untouched <= set(seen)


async def test_sizes_and_tokens(api: Api, clock: TestClock) -> None:
    """B 27: sizes are coerced, a negative one is refused; a token is good for its list alone."""
    await make_projects(api, clock, 60)

    async def ask(**fields: Any) -> project_pb2.ListProjectsResponse:
        request = project_pb2.ListProjectsRequest(parent="organizations/acme", **fields)
        return await api.projects.list(request, project_pb2.ListProjectsResponse())

    assert len((await ask()).projects) == 50
    assert len((await ask(page_size=100_000)).projects) == 60
    with pytest.raises(Invalid) as refused:
        await ask(page_size=-1)
    assert refused.value.problems[0].field == "page_size"
    token = (await ask(page_size=2, filter="name:*")).next_page_token
    assert len((await ask(page_size=9, filter="name:*", page_token=token)).projects) == 9
    assert b"projects" not in token.encode()
    for wrong in (
        {"page_token": token},
        {"page_token": token, "filter": "uid:*"},
        {"page_token": token, "filter": "name:*", "order_by": "name"},
        {"page_token": f"x{token[1:]}", "filter": "name:*"},
        {"page_token": "x", "filter": "name:*"},
    ):
        with pytest.raises(Invalid) as refused:
            await ask(**wrong)
        assert refused.value.problems[0].reason == "PAGE_TOKEN_INVALID"


async def test_wrong_filters_and_orders_are_told_at_once(api: Api) -> None:
    """B 37, 38: filter and order are both looked at before anything is refused."""
    request = project_pb2.ListProjectsRequest(
        parent="organizations/acme", filter="nme = x AND reconciling = 3", order_by="annotations"
    )
    with pytest.raises(Invalid) as refused:
        await api.projects.list(request, project_pb2.ListProjectsResponse())
    assert [p.field for p in refused.value.problems] == ["filter", "filter", "order_by"]
    for wrong in (
        "nme",
        "name up",
        "name,",
        "name, name",
        "annotations",
        "name.x",
        "create_time.x",
    ):
        request = project_pb2.ListProjectsRequest(parent="organizations/acme", order_by=wrong)
        with pytest.raises(Invalid) as refused:
            await api.projects.list(request, project_pb2.ListProjectsResponse())
        assert refused.value.problems[0].field == "order_by"


async def test_what_a_filter_refuses_costs_no_query(api: Api, clock: TestClock) -> None:
    """A page is found with queries by the thousand rows, never by the row."""
    await make_projects(api, clock, 200)
    statements: list[str] = []

    def note(*given: Any) -> None:
        statements.append(given[2])

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        seen, _ = await walk(api, size=100, filter='annotations.env = "nowhere"')
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    assert seen == []
    assert 1 <= len([text for text in statements if "FROM resources" in text]) <= 3


async def test_many_are_read_at_once(api: Api, clock: TestClock) -> None:
    """AIP-231: all of them in the order asked for, or none; the parent is that of each."""
    made = [project.name for project in await make_projects(api, clock, 5)]
    names = [made[3], made[0], made[3]]

    async def ask(parent: str, *names: str) -> list[str]:
        request = project_pb2.BatchGetProjectsRequest(parent=parent, names=names)
        answer = await api.projects.batch_get(request, project_pb2.BatchGetProjectsResponse())
        assert all(project.reconciling and project.etag for project in answer.projects)
        return [project.name for project in answer.projects]

    assert await ask("organizations/acme", *names) == names
    assert await ask("organizations/-", *names) == names
    lost = [f"organizations/acme/projects/{own}" for own in ("gone", "left")]
    with pytest.raises(NotFound, match=r"projects/gone, .*projects/left"):
        await ask("organizations/acme", f"{SHOP}-two", *names, *lost)
    with pytest.raises(Invalid) as refused:
        await ask("organizations/other", *names)
    assert [p.field for p in refused.value.problems] == ["names[0]", "names[1]", "names[2]"]
    with pytest.raises(Invalid) as refused:
        await ask("organizations/acme", made[0], "projects/x")
    assert refused.value.problems[0].field == "names[1]"


async def test_lists_look_into_lists(api: Api) -> None:
    """A filter asks for elements of a list, and for kinds of a component."""
    await create_web(api)

    async def ask(filter: str) -> list[str]:
        request = component_pb2.ListComponentsRequest(
            parent="organizations/acme/projects/-", filter=filter
        )
        answer = await api.components.list(request, component_pb2.ListComponentsResponse())
        return [component.name for component in answer.components]

    assert await ask("endpoints.protocol:HTTP AND component_kind = SERVICE") == [WEB]
    assert await ask("endpoints.protocol:GRPC") == []
    await api.projects.update(update_project(display_name=str(uuid.uuid4())))
