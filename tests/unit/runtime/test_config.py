"""Settings: which value wins, where it came from, and what is refused."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, SecretStr

from cellplane.cell.problem import Invalid
from cellplane.runtime.config import (
    Duration,
    ServiceSettings,
    Settings,
    format_duration,
    load,
    parse_duration,
)


class Sample(Settings):
    """Settings of the tests."""

    service: ClassVar[str] = "network-policy"

    listen: str = Field("127.0.0.1:0", description="where")
    workers: int = Field(2, description="how many")
    peers: tuple[str, ...] = Field((), description="who")
    wait: Duration = Field(timedelta(seconds=5), description="how long")
    token: SecretStr = Field(SecretStr(""), description="secret")
    url: str = Field("", description="where to")


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_flag_then_environment_then_file_then_default(tmp_path: Path) -> None:
    """Each source wins over the next, and every value knows where it came from."""
    file = write(tmp_path / "x.toml", 'listen = "file"\nworkers = 3\nwait = "1m"\n')
    loaded = load(
        Sample,
        flags={"--listen": "flag"},
        environ={
            "CELLPLANE_NETWORK_POLICY_LISTEN": "env",
            "CELLPLANE_NETWORK_POLICY_WORKERS": "4",
        },
        file=file,
    )
    assert (loaded.value.listen, loaded.value.workers) == ("flag", 4)
    assert loaded.value.wait == timedelta(minutes=1)
    origins = {name: origin.origin for name, origin in loaded.origins.items()}
    assert origins == {
        "listen": "flag --listen",
        "workers": "env CELLPLANE_NETWORK_POLICY_WORKERS",
        "wait": f"file {file}",
        "peers": "default",
        "token": "default",
        "url": "default",
    }
    assert loaded.origins["wait"].value == "1m"


def test_secrets_are_masked() -> None:
    """Neither a secret nor a password in a URL is shown."""
    environ = {
        "CELLPLANE_NETWORK_POLICY_TOKEN": "hunter2",
        "CELLPLANE_NETWORK_POLICY_URL": "postgresql://me:hunter2@db:5432/x",
    }
    loaded = load(Sample, environ=environ)
    assert loaded.value.token.get_secret_value() == "hunter2"
    shown = [origin.value for origin in loaded.origins.values()]
    assert "hunter2" not in " ".join(shown)
    assert loaded.origins["url"].value == "postgresql://me:********@db:5432/x"


def test_an_unknown_key_names_the_closest(tmp_path: Path) -> None:
    """An unknown key of the file, or flag, is an error that names the closest known one."""
    file = write(tmp_path / "x.toml", "workres = 3\n")
    with pytest.raises(Invalid) as refused:
        load(Sample, flags={"lisen": "x"}, environ={}, file=file)
    assert [problem.field for problem in refused.value.problems] == ["lisen", "workres"]
    assert "did you mean `workers`" in refused.value.message
    assert "did you mean `listen`" in refused.value.message


def test_all_that_is_wrong_comes_at_once() -> None:
    """Bad and missing values are all reported, with where they came from."""
    environ = {"CELLPLANE_NETWORK_POLICY_WORKERS": "many", "CELLPLANE_NETWORK_POLICY_WAIT": "soon"}
    with pytest.raises(Invalid) as refused:
        load(Sample, environ=environ)
    assert [problem.field for problem in refused.value.problems] == ["workers", "wait"]
    assert "env CELLPLANE_NETWORK_POLICY_WORKERS" in refused.value.message
    with pytest.raises(Invalid) as refused:
        load(ServiceSettings, environ={})
    missing = {problem.field for problem in refused.value.problems}
    assert missing == {"tls_ca", "tls_cert", "tls_key", "state_dir"}
    assert "--tls-ca" in refused.value.message


def test_a_bad_secret_is_not_repeated(tmp_path: Path) -> None:
    """The message about a bad secret doesn't hold it."""
    file = write(tmp_path / "x.toml", "token = 4711\n")
    with pytest.raises(Invalid) as refused:
        load(Sample, environ={}, file=file)
    assert "4711" not in refused.value.message


def test_lists_are_json_or_commas() -> None:
    """A list in text is JSON, or words with commas between them."""
    for text in ("a, b", '["a", "b"]'):
        assert load(Sample, flags={"peers": text}, environ={}).value.peers == ("a", "b")
    with pytest.raises(Invalid):
        load(Sample, flags={"peers": "[a"}, environ={})


def test_an_empty_variable_is_unset() -> None:
    """An empty variable leaves the default; an empty flag is a value."""
    assert load(Sample, environ={"CELLPLANE_NETWORK_POLICY_LISTEN": ""}).value.listen
    assert load(Sample, flags={"listen": ""}, environ={}).value.listen == ""


def test_a_file_that_is_not_there_or_not_toml(tmp_path: Path) -> None:
    """A file that was named must exist and be TOML."""
    with pytest.raises(Invalid):
        load(Sample, environ={}, file=tmp_path / "none.toml")
    with pytest.raises(Invalid):
        load(Sample, environ={}, file=write(tmp_path / "x.toml", "= 3"))


@given(st.integers(min_value=0, max_value=10**10))
def test_durations_are_read_as_written(milliseconds: int) -> None:
    """A duration that is written can be read again."""
    value = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(value)) == value


def test_every_setting_is_described() -> None:
    """Every setting that all services share has a description."""
    assert all(field.description for field in ServiceSettings.model_fields.values())
