"""The configuration file: YAML, read strictly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from traced.errors import ConfigurationError


class _StrictLoader(yaml.SafeLoader):
    """Refuses a mapping that has a key twice, of which YAML's readers silently take the last; says where a value is none."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - the signature is yaml's
        """Give the value of a node.

        Raises:
            yaml.YAMLError: also where yaml's own constructors let another error through, as for the 13th month.
        """
        try:
            return super().construct_object(node, deep)
        except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError):
            kind = node.tag.removeprefix("tag:yaml.org,2002:")
            raise yaml.constructor.ConstructorError(None, None, f"{str(node.value)[:100]!r} is no {kind}", node.start_mark) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - the signature is yaml's
        """Give a mapping of distinct names.

        Raises:
            yaml.YAMLError: a key stands twice, or is no text.
        """
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} is no name", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """Give the mapping that a file holds, empty where it holds nothing.

    Raises:
        ConfigurationError: it cannot be read, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.load(text, _StrictLoader)  # noqa: S506 - it is a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        msg = f"the configuration file {path} cannot be read: {error}"
        raise ConfigurationError(msg, next_safe_actions=("Check the path and the YAML syntax.",)) from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        msg = f"the configuration file {path} must hold a mapping of rooms, not a {type(content).__name__}"
        raise ConfigurationError(msg, next_safe_actions=("Start it with, for example, `analysis:`.",))
    return content
