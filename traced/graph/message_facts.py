"""What parts say of messages: queries are asked about each kind of part once; what differs from message to message is looked up here, by the same spellings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from traced.graph.columns import Codes, Ints, Mask, Unsigned, mix
from traced.graph.message_entries import EMPTY, Entries, hashed
from traced.graph.message_parts import Parts

CREATE, SEND, RECEIVE, PROCESS, SETTLE = range(1, 6)
"""Operations as numbers; 0 is none."""
_OPERATIONS: Final = {"create": CREATE, "send": SEND, "receive": RECEIVE, "process": PROCESS, "settle": SETTLE}
_OF_ONE: Final = ("id", "partition", "offset", "ce_id", "key", "attempt", "batch", "queued")
"""Facts (of message_spellings.sql) that differ from message to message."""
_BESIDE: Final = ("messaging_system", "messaging_destination", "messaging_operation", "server_address", "rpc_method")


@dataclass(frozen=True, slots=True)
class Asked:
    """Kinds of parts that a query is asked about.

    Attributes:
        codes: what tells them apart, the same in all passes of a process.
        first: of each the number of a part of it.
        table: these parts, rows of PARTS.
    """

    codes: Unsigned
    first: Ints
    table: pa.Table

    def some(self, places: Ints) -> pa.Table:
        """Give some of them, numbered anew."""
        return self.table.take(pa.array(places)).set_column(0, "number", pa.array(np.arange(len(places))))


class Facts:
    """What each part says, by its number; the queries' answers are taken by `answer` and `answer_versions`.

    Attributes:
        operation: CREATE … SETTLE, or 0.
        says: it carries any attribute of messages.
    """

    def __init__(self, parts: Parts, spellings: pa.Table, verbs: frozenset[str]) -> None:
        """Take what is asked about, the answer of `message_spellings.sql`, and the words of `message_verbs.sql`."""
        self.parts = parts
        self._verbs = verbs
        self._entries = Entries(parts.table.column("message_attributes"))
        self._spellings: dict[str, list[str]] = {}
        for row in spellings.sort_by("rank").to_pylist():
            self._spellings.setdefault(row["fact"], []).append(row["key"])
        self._answers: pa.Table = pa.table({})
        self._versions: pa.Table = pa.table({})
        self._codes: dict[str, Codes] = {}
        self._placed: dict[str, Ints] = {}
        self._integers: dict[str, tuple[Ints, Mask]] = {}
        self._texts: dict[str, pa.Array] = {}
        self._of, self._of_version = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self.operation: Ints = np.zeros(0, np.int64)

    # ------------------------------------------------------------------ asking

    def kinds(self) -> Asked:
        """Give the kinds of parts, for `message_facts.sql`: what says the same apart from what is of one message."""
        of_one = {key for fact in _OF_ONE for key in self._spellings.get(fact, ())}
        table = self.parts.table
        same = self._entries.alike(lambda key: key not in of_one)
        beside = [hashed(Codes.from_column(table.column(name))) for name in _BESIDE]
        # names may hold ids and be without number; only the words count that name an operation
        names = Codes.from_column(table.column("name"))
        beside.append(hashed(Codes(names.of, [self._words(name) for name in names.texts])))
        plain = (np.asarray(table.column(name)).astype(np.uint64) for name in ("kind", "is_link"))
        asked, self._of = _asked(mix(same, self._entries.any.astype(np.uint64), *plain, *beside), table)
        return asked

    def _words(self, name: str) -> str:
        words = name.lower().split(" ")
        return "/".join(word if word in self._verbs else "" for word in (words[0], words[-1]))

    def answer(self, facts: pa.Table) -> None:
        """Take the answer of `message_facts.sql`."""
        self._answers = facts
        operation = self.codes("operation")
        self.operation = np.array([_OPERATIONS.get(text, 0) for text in operation.texts] or [0])[operation.of]

    def kinds_of_version(self, rule: Ints, asked_for: frozenset[str]) -> Asked:
        """Give the kinds of parts, for `message_versions.sql`.

        Args:
            rule: by which each is read.
            asked_for: the attributes that rules ask for.
        """
        table = self.parts.table
        route = np.zeros(len(rule), np.uint64)
        route[: len(self.parts.rows)] = hashed(Codes.from_column(pa.chunked_array([self.parts.routes])))
        plain = (values.astype(np.uint64) for values in (rule, np.asarray(table.column("is_link")), table.column("call_rule").is_valid().to_numpy()))
        names = (hashed(self.codes(name)) for name in ("destination", "destination_key"))
        asked, self._of_version = _asked(mix(self._entries.alike(asked_for.__contains__), route, *plain, *names), table)
        return asked

    def answer_versions(self, versions: pa.Table) -> None:
        """Take the answer of `message_versions.sql`."""
        self._versions = versions

    # ------------------------------------------------------------------ answers

    def marks(self, name: str) -> Mask:
        """Give a column of truths."""
        found: Mask = np.asarray(self._answers.column(name))[self._of]
        return found

    def codes(self, name: str) -> Codes:
        """Give a column of texts as numbers."""
        if name not in self._codes:
            answers, of = (self._answers, self._of) if name in self._answers.column_names else (self._versions, self._of_version)
            kinds = Codes.from_column(answers.column(name))
            self._codes[name] = Codes(kinds.of[of] if len(of) else of, kinds.texts)
        return self._codes[name]

    def texts(self, name: str, numbers: Ints) -> pa.Array:
        """Give the texts of some parts; '' for the number -1."""
        if name in ("message_id", "partition", "cloudevents_id", "message_key", "business_key"):
            return self._texts_of_one(name, numbers)
        codes = self.codes(name)
        if name not in self._texts:
            self._texts[name] = pa.array([*codes.texts, ""], pa.string())  # the last is that of no part
        return self._texts[name].take(pa.array(np.where(numbers < 0, len(codes.texts), codes.of[numbers]) if len(codes.of) else numbers + 1))

    def known(self, name: str) -> Mask:
        """Mark the parts of which a text is known."""
        if name in ("message_id", "partition", "cloudevents_id", "message_key", "business_key"):
            return self._place(name) >= 0
        codes = self.codes(name)
        marks: Mask = np.array([bool(text) for text in codes.texts] or [False])[codes.of]
        return marks

    def integers(self, name: str) -> tuple[Ints, Mask]:
        """Give a column of numbers, 0 where it is unknown, and where it is known."""
        if name not in self._integers:
            self._integers[name] = self._read_integers(name, self._place(name))
        return self._integers[name]

    def _read_integers(self, name: str, at: Ints) -> tuple[Ints, Mask]:
        if not (at >= 0).any():
            return np.zeros(len(at), np.int64), np.zeros(len(at), bool)
        texts = self._entries.texts(at)
        whole = pc.match_substring_regex(texts, r"^-?[0-9]{1,18}$")
        numbers = pc.cast(pc.if_else(whole, texts, None), pa.int64())
        found, known = np.asarray(pc.fill_null(numbers, 0)).astype(np.int64), np.asarray(numbers.is_valid())
        known &= (found >= 0) & (found <= _MOST.get(name, _MOST_OF_ALL))  # an offset of -1 is unknown
        if name == "attempt":
            # Celery counts what came before this attempt
            found += self._entries.have_key(at, "celery.retries")
        return np.where(known, found, 0), known

    def _texts_of_one(self, name: str, numbers: Ints) -> pa.Array:
        at = self._place(name)
        said = self._entries.texts(np.where(numbers >= 0, at[numbers], -1)) if len(at) else pa.array([], pa.string())
        if name == "cloudevents_id":
            return pc.utf8_trim(said, '[]"')  # a captured header is an array of one
        if name != "message_id" or self._entries.any.all():
            return said
        # a file of before the column existed has its typed attribute only
        typed = pc.fill_null(_one(self.parts.table.column("messaging_message_id")).take(pa.array(numbers, mask=numbers < 0)), EMPTY)
        bare = pa.array((numbers >= 0) & ~self._entries.any[numbers])
        return pc.if_else(bare, typed, said)

    def _place(self, name: str) -> Ints:
        """Give where the attribute that answers is, of each part."""
        if name not in self._placed:
            fact = _FACT_OF.get(name, name)
            keys = self._business_keys if name == "business_key" else self._spellings.get(fact, [])
            self._placed[name] = self._entries.first(keys)
        return self._placed[name]

    _business_keys: tuple[str, ...] = ()

    def ask_business_keys(self, keys: tuple[str, ...]) -> None:
        """Say which attributes identify messages across redrives."""
        self._business_keys = keys


_MOST_OF_ALL: Final = 2**62
_MOST: Final = {"batch": 1_000_000, "attempt": 1_000_000, "queued": 10**12}
"""What is more says nothing: sums of what strangers count must not overflow."""
_FACT_OF: Final = {"message_id": "id", "cloudevents_id": "ce_id", "message_key": "key"}


def _asked(codes: Unsigned, table: pa.Table) -> tuple[Asked, Ints]:
    """Give one part of each kind, in the order of the first of each, and the kind of each part."""
    _, first, of = np.unique(codes, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    first = first[order]
    return Asked(codes[first], first, table.take(pa.array(first))), rank[of.reshape(-1)]


def _one(column: pa.ChunkedArray) -> Any:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [pa.array([], column.type)])
