"""Settings of logs, of the client and of the demo."""

from pathlib import Path
from typing import Literal

from pydantic import SecretStr
from pydantic_settings import BaseSettings

from shared.setting_fields.define import setting


class ClientFields(BaseSettings):
    """What people on this machine see."""

    log_format: Literal["auto", "json", "text"] = setting(
        "QUIRE_LOG_FORMAT", "`auto` is text on a terminal and JSON elsewhere", "auto"
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "QUIRE_LOG_LEVEL", "the lowest level that is logged", "info"
    )

    log_file_bytes: int = setting(
        "QUIRE_LOG_FILE_BYTES",
        "the size past which a log file of `quire up` is rotated. What logs to standard error or "
        "into a container's log is not rotated by Quire",
        20 * 1024**2,
        ge=4096,
        le=2**40,
    )
    log_files: int = setting(
        "QUIRE_LOG_FILES",
        "older log files that `quire up` keeps of each part",
        5,
        ge=0,
        le=1000,
    )

    # The client, and the directory of example texts.
    client_url: str | None = setting(
        "QUIRE_URL", "the server's URL", None, default_text="saved by `quire login`"
    )
    client_key: SecretStr | None = setting(
        "QUIRE_KEY", "the API key", None, default_text="saved by `quire login`"
    )
    client_api_key: SecretStr | None = setting(
        "QUIRE_API_KEY", "another name of `QUIRE_KEY`", None, default_text="`QUIRE_KEY`"
    )
    client_ca: Path | None = setting(
        "QUIRE_CA",
        "a PEM file of authorities that may sign the server's certificate, beside the machine's",
        None,
        default_text="none",
    )
    corpus_dir: Path | None = setting(
        "QUIRE_CORPUS_DIR",
        "the directory in which `quire demo` looks for `nietzsche.txt`",
        None,
        default_text="none",
    )
    config_home: Path = setting(
        "XDG_CONFIG_HOME",
        "the directory in which `quire login` saves the URL and the key",
        Path("~/.config"),
    )
    runtime_dir: Path | None = setting(
        "XDG_RUNTIME_DIR",
        "the directory for the socket of `quire up`'s Redis, if the data directory's path is too "
        "long",
        None,
        default_text="none",
    )
