"""Settings: declared once, with name, default, help and secrecy; read from `frontdesk.toml` and `FRONTDESK_*`.

The environment wins over the file. Inbox options are validated by the adapter's own model (`gateway.runtime`), so a
typo in a channel's option fails at start with the field's name and never with its value.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

PREFIX = "FRONTDESK_"

DEFAULT_INBOXES: dict[str, dict[str, Any]] = {
    "support": {"channel": "email"},
    "contact": {"channel": "form"},
    "website": {"channel": "chat"},
    "phone": {"channel": "phone"},
    "twitter": {"channel": "twitter"},
}


class SettingsError(Exception):
    """A setting is missing, unknown or malformed. The sentence names the field and never shows its value."""


class Settings(BaseSettings):
    """Everything Frontdesk can be told. With nothing set, `frontdesk up` works on loopback in an empty folder."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    data_dir: Path = Field(
        default=Path("frontdesk-data"), description="folder for the embedded queue or spool, the SQLite store and blobs"
    )
    http_listen: str = Field(
        default="127.0.0.1:8080", description="host:port of forms, chat, webhooks, API and console"
    )
    public_url: str = Field(
        default="",
        description="URL under which customers and providers reach us; signatures are checked over it"
        " (default: http:// + http_listen)",
    )
    smtp_listen: str = Field(default="127.0.0.1:8025", description="host:port of the SMTP listener; empty: off")
    lmtp_listen: str = Field(default="127.0.0.1:8024", description="host:port of the LMTP listener; empty: off")
    metrics_listen: str = Field(
        default="",
        description="host:port where a process without HTTP (`work`, `poll`) answers /metrics and /healthz; empty: off",
    )
    smtp_tls_cert: Path | None = Field(
        default=None, description="certificate chain in PEM for STARTTLS on both mail listeners; empty: no TLS"
    )
    smtp_tls_key: Path | None = Field(default=None, description="its private key (default: in smtp_tls_cert too)")
    smtp_proxy_protocol: bool = Field(
        default=False, description="connections of trusted_proxies to the SMTP listener begin with a PROXY preamble"
    )
    queue_url: str = Field(default="embedded:", description="`embedded:` or `amqp://user:password@host:5672/vhost`")
    store_url: str = Field(
        default="",
        description="`sqlite:///path` or `postgresql://user:password@host/db` (default: frontdesk.db in data_dir)",
    )
    blob_dir: Path | None = Field(
        default=None, description="folder for large bodies, shared by all processes (default: blobs in data_dir)"
    )
    api_tokens: Annotated[list[SecretStr], NoDecode] = Field(
        default=[], description="tokens that open the API and the console, separated by commas"
    )
    mail_domains: Annotated[list[str], NoDecode] = Field(
        default=["localhost"], description="domains whose every address the default mail inbox takes"
    )
    trusted_proxies: Annotated[list[str], NoDecode] = Field(
        default=[], description="addresses whose X-Forwarded-For is believed, separated by commas"
    )
    log_level: str = Field(default="info", description="debug, info, warning or error")
    log_format: str = Field(default="auto", description="`json`, `text`, or `auto`: text on a terminal")
    spool_min_free: int = Field(
        default=64 * 1024 * 1024, description="refuse new messages temporarily below this many free bytes on disk"
    )
    publish_deadline: float = Field(
        default=2.0, description="seconds RabbitMQ has to confirm a message before it goes to the local spool"
    )
    batch_size: int = Field(default=100, description="messages a worker records in one transaction, at most")
    batch_linger: float = Field(default=0.01, description="seconds a worker waits for a batch to fill")
    near_duplicate_ratio: float = Field(
        default=88.0, description="percent of equal letters from which one person's two messages are one matter; 0: off"
    )
    near_duplicate_window_minutes: float = Field(default=60.0, description="minutes within which they must have come")
    inboxes: dict[str, dict[str, Any]] = Field(
        default=DEFAULT_INBOXES,
        description="the configured accounts: name -> channel and its options; named defaults are kept and merged",
    )

    @field_validator("api_tokens", "mail_domains", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("inboxes", mode="before")
    @classmethod
    def _merge(cls, value: Any) -> Any:
        """Defaults stay unless a name is set to `channel = "off"`; options given for a default keep its channel."""
        if not isinstance(value, dict):
            return value
        merged = {name: {**DEFAULT_INBOXES.get(name, {}), **(options or {})} for name, options in value.items()}
        result = {**DEFAULT_INBOXES, **merged}
        return {name: options for name, options in result.items() if options.get("channel") != "off"}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then environment, then `frontdesk.toml` (or the file named by FRONTDESK_CONFIG)."""
        file = Path(os.environ.get(f"{PREFIX}CONFIG", "frontdesk.toml"))
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=file)

    @property
    def base_url(self) -> str:
        """`public_url` without a slash at its end, or the listener's own address."""
        return (self.public_url or f"http://{self.http_listen}").rstrip("/")

    @property
    def database_url(self) -> str:
        """`store_url`, or the SQLite file in the data folder."""
        return self.store_url or f"sqlite:///{self.data_dir / 'frontdesk.db'}"

    @property
    def blob_path(self) -> Path:
        """Where large bodies are kept."""
        return self.blob_dir or self.data_dir / "blobs"


def load_settings(**overrides: Any) -> Settings:
    """Read file and environment. Raises `SettingsError` with one line a field."""
    file = os.environ.get(f"{PREFIX}CONFIG")
    if file and not Path(file).is_file():
        raise SettingsError(f"FRONTDESK_CONFIG names {file}, which is not a file")
    try:
        return Settings(**overrides)
    except ValidationError as error:
        lines = (f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors())
        raise SettingsError("\n".join(lines)) from None
    except ValueError as error:  # a broken TOML file or unparsable nested value
        raise SettingsError(f"cannot read the settings: {error}") from None


class Row(NamedTuple):
    """One setting as the README shows it."""

    name: str
    env: str
    default: str
    help: str
    secret: bool


def describe() -> Iterator[Row]:
    """Every setting, in order of declaration."""
    for name, field in Settings.model_fields.items():
        secret = "SecretStr" in str(field.annotation)
        default = "" if field.default in (None, []) else field.default
        if name == "inboxes":
            default = ", ".join(DEFAULT_INBOXES)
        elif isinstance(default, list):
            default = ",".join(default)
        yield Row(name, PREFIX + name.upper(), str(default), field.description or "", secret)
