"""Which store version a data directory has: checked before anything in it is touched."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Final

import pyarrow as pa
import structlog

from traced.errors import StoreError
from traced.store.catalog import numbers_of
from traced.store.parquet import STORE_VERSION, read_footer
from traced.store.segment import sync_directory

log = structlog.get_logger(__name__)

_NAME: Final = "store.json"


def check_version(data_dir: Path, sealed: Path) -> None:
    """Refuse a directory, or a sealed file in it, of a newer store; changes nothing.

    Raises:
        StoreError: it belongs to a newer store, or cannot be looked at.
    """
    path = data_dir / _NAME
    try:
        version = _read(path) if path.exists() else STORE_VERSION
        sealed_paths = sorted(p for p in sealed.glob("*.parquet") if numbers_of(p)) if sealed.is_dir() else []
    except OSError as error:
        raise StoreError(
            f"the data directory {data_dir} cannot be read: {error}",
            next_safe_actions=("Check who owns it, or name another with --data-dir.",),
        ) from None
    if version is not None and version > STORE_VERSION:
        raise StoreError(
            f"the data directory {data_dir} belongs to a newer traced (store version {version}, this one reads {STORE_VERSION})",
            next_safe_actions=("Start the newer traced, or give this one another --data-dir. Nothing was changed.",),
            error_code="store_version_newer",
        )
    for sealed_path in sealed_paths:
        try:
            read_footer(sealed_path)
        except (OSError, pa.ArrowException):
            continue  # damaged: recovery sets it aside


def write_version(data_dir: Path) -> None:
    """Write the version into a directory that has none, or whose file is damaged (sealed files say theirs in their footers).

    Raises:
        OSError: the disk is full or failing.
    """
    path = data_dir / _NAME
    if path.exists() and _read(path) is not None:
        return
    temporary = path.with_suffix(".tmp")
    text = str(STORE_VERSION)
    content = json.dumps({"store_version": STORE_VERSION, "crc32": zlib.crc32(text.encode())}) + "\n"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, content.encode())
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.rename(path)
    sync_directory(data_dir)


def _read(path: Path) -> int | None:
    """Read the version; None where the file is damaged (its checksum tells a flipped digit from a newer version)."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = int(content["store_version"])
        checksum = content.get("crc32")
    except (ValueError, KeyError, TypeError, AttributeError):
        log.warning("store_version_unreadable", path=str(path))
        return None
    return version if checksum in {None, zlib.crc32(str(version).encode())} else None
