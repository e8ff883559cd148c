"""What the JSON API answers about dual-publish migrations."""

from __future__ import annotations

import json
from typing import Any

from traced.errors import InvalidRequestError
from traced.model.migration import Code, Gate, VerdictRecord
from traced.model.verdict import Acceptance, moment
from traced.model.views import MigrationView

MAX_ACCEPTED = 20
MAX_REASON_CHARACTERS = 500
_ACTIONS = ('Send {"gate": "stop-publish", "accept": [{"code": "…", "reason": "…"}]}.',)


def migrations(view: MigrationView) -> dict[str, Any]:
    """Give every configured migration, and others that were found."""
    return {"migrations": [report.as_dict() for report in view.reports()], "found": [one.as_dict() for one in view.found()]}


def migration(view: MigrationView, name: str) -> dict[str, Any]:
    """Give one migration as it stands now, with the verdicts of before."""
    return {**view.report(name).as_dict(), "history": [_record(one) for one in view.history(name)]}


def check(view: MigrationView, name: str, body: bytes) -> dict[str, Any]:
    """Give the verdict of the gate that a body asks for.

    Raises:
        InvalidRequestError: the body is none.
    """
    gate, accepted = asked(body)
    return view.check(name, gate, accepted).as_dict()


def asked(body: bytes) -> tuple[Gate, tuple[Acceptance, ...]]:
    """Give (gate, accepted reasons) of the body of a check.

    Raises:
        InvalidRequestError: it is no such body; the message says what is wrong.
    """
    try:
        wanted = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidRequestError("the body is not JSON", next_safe_actions=_ACTIONS) from None
    if not isinstance(wanted, dict) or set(wanted) - {"gate", "accept"}:
        raise InvalidRequestError("the body must be an object with `gate` and perhaps `accept`", next_safe_actions=_ACTIONS)
    gate = wanted.get("gate")
    if not isinstance(gate, str) or gate not in set(Gate):
        raise InvalidRequestError(f"gate {str(gate)[:64]!r} is none of {', '.join(Gate)}", next_safe_actions=_ACTIONS)
    given = wanted.get("accept", [])
    if not isinstance(given, list) or len(given) > MAX_ACCEPTED:
        raise InvalidRequestError(f"`accept` must be a list of at most {MAX_ACCEPTED}", next_safe_actions=_ACTIONS)
    return Gate(gate), tuple(_acceptance(one) for one in given)


def _acceptance(one: Any) -> Acceptance:
    if not isinstance(one, dict) or set(one) != {"code", "reason"} or not all(isinstance(value, str) and value.strip() for value in one.values()):
        raise InvalidRequestError("what is accepted must have a `code` and a `reason`", next_safe_actions=_ACTIONS)
    if one["code"] not in set(Code):
        raise InvalidRequestError(f"code {one['code'][:64]!r} is none of {', '.join(Code)}", next_safe_actions=_ACTIONS)
    return Acceptance(Code(one["code"]), one["reason"][:MAX_REASON_CHARACTERS])


def _record(one: VerdictRecord) -> dict[str, Any]:
    return {**one.as_dict(), "as_of": moment(one.as_of_unix_seconds), "valid_until": moment(one.valid_until_unix_seconds)}
