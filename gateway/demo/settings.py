"""Settings of a demo desk: everything on loopback and in one folder, and nothing of what is configured elsewhere."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from gateway.demo.posts import OUR_HANDLE, OUR_ID
from gateway.demo.shapes import BILLING, DOMAIN
from gateway.demo.target import Target, new_secret
from gateway.settings import Settings

HOST = "127.0.0.1"
HTTP_PORT, SMTP_PORT = 8080, 8025


class DemoSettings(Settings):
    """Deaf to `frontdesk.toml` and the environment: a demo must not reach a real broker, database or account."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments only."""
        return (init_settings,)


def demo_desk(data_dir: Path) -> tuple[DemoSettings, Target]:
    """A desk with two mail inboxes and keys for Twilio and X, made for this run, and how to reach it."""
    http_port, smtp_port = free_port(HTTP_PORT), free_port(SMTP_PORT)
    twilio_token, x_secret = new_secret(), new_secret()
    inboxes: dict[str, dict[str, Any]] = {
        "support": {"channel": "email", "domains": [DOMAIN]},
        "billing": {"channel": "email", "addresses": [BILLING]},
        "phone": {"auth_token": twilio_token},
        "twitter": {"consumer_secret": x_secret, "user_id": OUR_ID, "handle": OUR_HANDLE},
    }
    settings = DemoSettings(
        data_dir=data_dir,
        http_listen=f"{HOST}:{http_port}",
        smtp_listen=f"{HOST}:{smtp_port}",
        lmtp_listen="",
        log_level="error",
        inboxes=inboxes,
    )
    return settings, Target(settings.base_url, HOST, smtp_port, settings.base_url, twilio_token, x_secret)


def free_port(wanted: int) -> int:
    """`wanted` if nobody has it, else one that the system gives."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on loopback")
