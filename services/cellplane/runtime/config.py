"""Settings: flag, then environment, then file, then default; and where each value came from.

A settings class lists every knob with a description; nothing else reads the environment. All that
is wrong is reported at once, each finding with its origin; secrets never appear in a message.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import BeforeValidator, Field, PlainSerializer, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from cellplane.cell.problem import Invalid, Problem

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_PASSWORD = re.compile(r"(?<=:)[^:/@\s]+(?=@)")


def parse_duration(value: object) -> object:
    """Read ``500ms``, ``5s``, ``1h30m`` or a number of seconds; leaves anything else alone."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    parts = _PART.findall(text)
    if parts and "".join(number + unit for number, unit in parts) == text:
        return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
    return value


def format_duration(value: timedelta) -> str:
    """Write a duration the way ``parse_duration`` reads it: ``1h30m``, ``5s``, ``250ms``."""
    left, parts = round(value.total_seconds() * 1000), list[str]()
    for unit in ("d", "h", "m", "s", "ms"):
        size = round(_UNITS[unit] * 1000)
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
]
"""A ``timedelta`` that is written as ``500ms``, ``5s`` or ``1h30m``."""


class Settings(BaseSettings):
    """What a process can be told. Subclasses set ``service`` and add documented fields."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", validate_default=True)

    service: ClassVar[str] = ""
    """Name in the environment: ``CELLPLANE_<SERVICE>_<FIELD>``."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what ``load`` hands over: nothing is read behind its back."""
        return (init_settings,)

    @classmethod
    def environment_key(cls, field: str) -> str:
        """Name of the environment variable of a field."""
        service = cls.service.replace("-", "_")
        return f"CELLPLANE_{service}_{field}".upper() if service else f"CELLPLANE_{field}".upper()


class ServiceSettings(Settings):
    """What every service can be told."""

    listen: str = Field("127.0.0.1:0", description="address of the gRPC port, `host:port`")
    admin_listen: str = Field(
        "127.0.0.1:0",
        description="address of metrics and probes (HTTP), `host:port`; empty for none",
    )
    admin_grpc_listen: str = Field(
        "127.0.0.1:0",
        description="loopback address of health and channelz without TLS; empty for none",
    )
    tls_ca: Path = Field(description="PEM file of the authorities that callers' certificates need")
    tls_cert: Path = Field(description="PEM file of the service's certificate")
    tls_key: Path = Field(description="PEM file of the service's private key")
    trust_domain: str = Field("cellplane.local", description="trust domain of every identity")
    roles_file: Path | None = Field(
        None, description="TOML file of what users may do; without, user `admin` may do everything"
    )
    database_url: str = Field(
        "", description="URL of the service's own database; empty for one file in `state_dir`"
    )
    state_dir: Path = Field(description="folder of what this service keeps")
    shutdown_grace: Duration = Field(
        timedelta(seconds=5), description="time that running calls have to end on a stop"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least level that is logged"
    )
    log_format: Literal["json", "console"] = Field(
        "json", description="`json` for machines, `console` for people"
    )
    reflection: bool = Field(True, description="serve the contracts by gRPC reflection")
    port_file: Path | None = Field(
        None, description="file that gets the bound ports as JSON once the service is ready"
    )


S = TypeVar("S", bound=Settings)
MISSING = "(missing)"
"""Shown for a setting that must be given, and is not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """One value as text, and where it came from."""

    value: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded(Generic[S]):
    """Settings, and per field the origin of its value."""

    value: S
    origins: Mapping[str, Origin]


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined(Generic[S]):
    """What was given, right or not: each setting with its origin, and all that is wrong."""

    value: S | None
    """``None`` where something is wrong."""
    origins: Mapping[str, Origin]
    problems: Sequence[Problem]


def load(
    settings: type[S],
    *,
    flags: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Loaded[S]:
    """Read settings from flags (by field name), environment and a TOML file, in that order.

    Raises ``Invalid`` with one problem per unknown key, missing field and bad value.
    """
    found = examine(settings, flags=flags, environ=environ, file=file)
    if found.value is None:
        whole = "; ".join(problem.message for problem in found.problems)
        raise Invalid(f"settings: {whole}", problems=found.problems, reason="SETTINGS_INVALID")
    return Loaded(value=found.value, origins=found.origins)


def examine(
    settings: type[S],
    *,
    flags: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    file: Path | None = None,
) -> Examined[S]:
    """Read settings as ``load`` does; what is wrong is part of the answer.

    Raises ``Invalid`` where the file itself cannot be read.
    """
    environ = os.environ if environ is None else environ
    by_flag = {name.lstrip("-").replace("-", "_"): text for name, text in (flags or {}).items()}
    in_file = _read_file(file)
    problems = [
        *_unknown(settings, by_flag, _flag),
        *_unknown(settings, in_file, lambda key: f"`{key}` in file {file}"),
    ]
    values: dict[str, object] = {}
    sources: dict[str, str] = {}
    texts = _Texts(settings, by_flag, environ)
    for name, field in settings.model_fields.items():
        value, key, is_complex = texts.get_field_value(field, name)
        if value is not None:
            sources[name] = key
            try:
                values[name] = texts.prepare_field_value(name, field, value, is_complex)
            except ValueError:
                problems.append(_bad(name, f"is not valid JSON ({key})"))
        elif name in in_file:
            values[name], sources[name] = in_file[name], f"file {file}"
    loaded: S | None = None
    try:
        loaded = settings.model_validate(values)
    except ValidationError as error:
        problems += [_problem(settings, finding, sources) for finding in error.errors()]
    return Examined(
        value=None if problems else loaded,
        origins={
            name: _origin(settings, name, loaded, values, sources) for name in settings.model_fields
        },
        problems=problems,
    )


def _origin(
    settings: type[Settings],
    name: str,
    loaded: Settings | None,
    values: Mapping[str, object],
    sources: Mapping[str, str],
) -> Origin:
    field = settings.model_fields[name]
    if name not in sources and field.is_required():
        return Origin(value=MISSING, origin=_ways(settings, name))
    if loaded is not None:
        value: object = getattr(loaded, name)
    elif name in sources:
        # Not checked as a whole: it is shown as it was given.
        given = values.get(name, "")
        value = SecretStr(str(given)) if given and _is_secret(settings, name) else given
    else:
        value = field.get_default(call_default_factory=True, validated_data={})
    return Origin(value=_show(value), origin=sources.get(name, "default"))


class _Texts(PydanticBaseSettingsSource):
    """Values that arrive as text: flags before the environment."""

    def __init__(
        self, settings: type[Settings], flags: Mapping[str, str], environ: Mapping[str, str]
    ) -> None:
        super().__init__(settings)
        self._settings = settings
        self._flags = flags
        self._environ = environ

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The text of a field, its origin, and whether it must be decoded."""
        is_complex = self.field_is_complex(field)
        if field_name in self._flags:
            return self._flags[field_name], f"flag {_flag(field_name)}", is_complex
        key = self._settings.environment_key(field_name)
        # An empty variable is how a shell or a chart says "unset".
        return self._environ.get(key) or None, f"env {key}", is_complex

    def prepare_field_value(
        self, field_name: str, field: FieldInfo, value: Any, value_is_complex: bool
    ) -> Any:
        """Decode JSON, or a comma-separated list, where the field is a collection."""
        if not value_is_complex or not isinstance(value, str):
            return value
        if value[:1] in ("[", "{"):
            return self.decode_complex_value(field_name, field, value)
        return [part.strip() for part in value.split(",") if part.strip()]

    def __call__(self) -> dict[str, Any]:
        """All values, as pydantic-settings asks for them."""
        found: dict[str, Any] = {}
        for name, field in self._settings.model_fields.items():
            value, _, is_complex = self.get_field_value(field, name)
            if value is not None:
                found[name] = self.prepare_field_value(name, field, value, is_complex)
        return found


def _read_file(file: Path | None) -> dict[str, object]:
    if file is None:
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Invalid(f"settings: file {file} does not exist", reason="SETTINGS_INVALID") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(
            f"settings: file {file} is not TOML: {error}", reason="SETTINGS_INVALID"
        ) from error


def _unknown(
    settings: type[Settings], given: Mapping[str, object], name: Callable[[str], str]
) -> list[Problem]:
    problems: list[Problem] = []
    for key in given:
        if key in settings.model_fields:
            continue
        close = difflib.get_close_matches(key, list(settings.model_fields), n=1, cutoff=0.0)
        hint = f": did you mean `{close[0]}`?" if close else ""
        problems.append(
            Problem(
                reason="SETTING_UNKNOWN",
                message=f"{name(key)} is not a setting{hint}",
                field=key,
            )
        )
    return problems


def _problem(settings: type[Settings], finding: Any, sources: Mapping[str, str]) -> Problem:
    name = str(finding["loc"][0]) if finding["loc"] else ""
    if finding["type"] == "missing":
        return _bad(name, f"is not set: {_ways(settings, name)}")
    text: str = finding["msg"].removeprefix("Value error, ")
    if not name:
        # A rule about several settings names them itself.
        return Problem(reason="SETTING_INVALID", message=text)
    origin = sources.get(name, "default")
    given = finding["input"]
    secret = _is_secret(settings, name)
    shown = "" if secret or not isinstance(given, (str, int, float, bool)) else f" {_mask(given)!r}"
    return _bad(name, f"has a bad value{shown} ({origin}): {text[:1].lower()}{text[1:]}")


def _ways(settings: type[Settings], name: str) -> str:
    return f"pass {_flag(name)}, set {settings.environment_key(name)}, or write it in the file"


def _bad(name: str, text: str) -> Problem:
    return Problem(reason="SETTING_INVALID", message=f"`{name}` {text}", field=name)


def _is_secret(settings: type[Settings], name: str) -> bool:
    field = settings.model_fields.get(name)
    return field is not None and "Secret" in repr(field.annotation)


def _show(value: object) -> str:
    match value:
        case None:
            return ""
        case SecretStr():
            return "********" if value.get_secret_value() else ""
        case timedelta():
            return format_duration(value)
        case bool():
            return "true" if value else "false"
        case tuple() | list() | frozenset() | set():
            return ",".join(_show(item) for item in value)  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType]
        case _:
            return _mask(value)


def _mask(value: object) -> str:
    """Hide the password in a URL: ``postgresql://user:********@host``."""
    text = str(value)
    return _PASSWORD.sub("********", text) if "://" in text else text


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
