"""How many bytes the kernel has received on the connections of a port: what gRPC keeps of a message that is not whole, and tells nobody.

The sockets belong to gRPC, so they are only asked (getpeername, getsockopt), by their numbers; nothing here ever owns or closes one.
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import socket
import struct
import sys
from pathlib import Path
from typing import Final
from urllib.parse import unquote

Address = tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]

_DESCRIPTORS: Final = Path("/proc/self/fd")
_TCP_INFO: Final = 11
_BYTES_RECEIVED: Final = struct.Struct("=128xQ")
"""`tcpi_bytes_received` of Linux' `struct tcp_info`, since 4.1."""


class Connections:
    """The TCP connections that this process accepted on a port; for one thread."""

    def __init__(self, port: int) -> None:
        """Know none yet."""
        self._port = port
        # none of the calls waits, so there is no need to let other threads run meanwhile: that would cost more
        self._libc = ctypes.PyDLL(None) if sys.platform == "linux" else None
        self._descriptors: dict[Address, int] = {}
        self._absent: set[Address] = set()
        """Looked for in vain."""

    def received(self, peers: list[str]) -> dict[str, int]:
        """Give the bytes received since each connection began, by its peer as gRPC writes it (`ipv4:HOST:PORT`, `ipv6:[HOST]:PORT`).

        Peers of which the system does not say it are left out: not Linux, or no such connection any more.
        """
        addresses = {peer: address for peer in peers if (address := read_peer(peer)) is not None}
        lacking = {address for address in addresses.values() if not self._is_of(self._descriptors.get(address), address)}
        if lacking - self._absent:
            self._find()
            self._absent = {address for address in lacking if address not in self._descriptors}
        for address in lacking & self._absent:
            self._descriptors.pop(address, None)
        counts = {peer: self._count(self._descriptors.get(address)) for peer, address in addresses.items()}
        return {peer: count for peer, count in counts.items() if count}

    def _find(self) -> None:
        """Look through all descriptors of this process for the connections."""
        self._descriptors.clear()
        if self._libc is None:
            return
        with contextlib.suppress(OSError):  # no descriptor is left to look with
            for entry in _DESCRIPTORS.iterdir():
                descriptor = int(entry.name)
                address = self._address("getpeername", descriptor)
                if address is not None and self._is_of(descriptor, address):
                    self._descriptors[address] = descriptor

    def _is_of(self, descriptor: int | None, address: Address) -> bool:
        """Say whether a descriptor is (still) that of the connection with a peer."""
        if descriptor is None:
            return False
        here = self._address("getsockname", descriptor)
        return here is not None and here[1] == self._port and self._address("getpeername", descriptor) == address

    def _address(self, question: str, descriptor: int) -> Address | None:
        """Ask a descriptor for one of its ends; None where it is no connection by IP."""
        buffer, size = ctypes.create_string_buffer(128), ctypes.c_uint(128)
        if self._libc is None or self._libc[question](descriptor, buffer, ctypes.byref(size)):
            return None
        family = int.from_bytes(buffer.raw[:2], sys.byteorder)
        port = int.from_bytes(buffer.raw[2:4], "big")
        if family == socket.AF_INET:
            return ipaddress.IPv4Address(buffer.raw[4:8]), port
        if family == socket.AF_INET6:
            return _plain(ipaddress.IPv6Address(buffer.raw[8:24])), port
        return None

    def _count(self, descriptor: int | None) -> int:
        """Give the bytes received, 0 where the system does not say it."""
        buffer, size = ctypes.create_string_buffer(256), ctypes.c_uint(256)
        if self._libc is None or descriptor is None or self._libc.getsockopt(descriptor, socket.IPPROTO_TCP, _TCP_INFO, buffer, ctypes.byref(size)):
            return 0
        return int(_BYTES_RECEIVED.unpack_from(buffer)[0]) if size.value >= _BYTES_RECEIVED.size else 0


def read_peer(peer: str) -> Address | None:
    """Read a peer as gRPC writes it; None where it is no IP address and port."""
    host, _, port = unquote(peer.partition(":")[2]).rpartition(":")
    try:
        return _plain(ipaddress.ip_address(host.strip("[]").partition("%")[0])), int(port)
    except ValueError:
        return None


def _plain(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Give the IPv4 address that an IPv6 socket shows in its own form."""
    return (isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped) or address
