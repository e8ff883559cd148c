"""The door for people: the command `traced`, a file per command."""

from traced.cli.app import main

__all__ = ["main"]
