"""Messages of the passes: who published and who took them, by which version of their schema; as rows of fresh spans, and as flows of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa

from traced.graph.columns import Ints, Mask
from traced.graph.message_facts import Asked, Facts
from traced.graph.message_memory import MessageMemory
from traced.graph.message_parts import parts
from traced.graph.messages import NOTHING, Found, messages
from traced.graph.relation import Relation
from traced.graph.schema_reading import questions, rule_tables, versions_asked
from traced.model.messages import FLOWS, MESSAGES
from traced.model.schema_rules import SchemaRules
from traced.store.queries import NamedQuery, load_folder
from traced.store.workbench import Workbench

MAX_KINDS: Final = 20_000
"""Kinds of parts about which answers are kept; where there are more, all are asked about anew."""
_NO_RULES: Final = SchemaRules()


class _Answers:
    """What a query said of kinds of parts: it is asked about each kind once, since kinds are few, and planning a query takes longer than they do."""

    def __init__(self, workbench: Workbench, query: NamedQuery, fixed: Mapping[str, pa.Table]) -> None:
        """Know nothing yet; `fixed` are tables that the query reads whatever it is asked about."""
        self._workbench = workbench
        self._query = query
        self._fixed = fixed
        self._place: dict[int, int] = {}
        self._rows: list[pa.Table] = []

    def ask(self, asked: Asked, tables: Callable[[Ints], Mapping[str, pa.Table]]) -> pa.Table:
        """Give the answer about each kind; `tables` gives what is asked about some of them, by their places."""
        if len(self._place) + len(asked.codes) > MAX_KINDS:
            self._place, self._rows = {}, []
        codes = asked.codes.tolist()
        new = np.array([place for place, code in enumerate(codes) if code not in self._place], np.int64)
        if len(new) or not self._rows:
            self._workbench.register({**self._fixed, **tables(new)})
            answer = self._workbench.run(self._query)
            known = len(self._place)
            self._place |= {codes[place]: known + number for number, place in enumerate(new.tolist())}
            self._rows = [pa.concat_tables([*self._rows, answer]).combine_chunks()]
        return self._rows[0].take(pa.array([self._place[code] for code in codes], pa.int64()))


class Messages:
    """Finds the messages of each pass; remembers what joins them across passes."""

    def __init__(self, workbench: Workbench, rules: SchemaRules = _NO_RULES) -> None:
        """Know nothing yet; `rules` say how versions of schemas are read."""
        self._workbench = workbench
        self._rules = rules
        self._queries = load_folder("analysis")
        self._fixed: dict[str, pa.Table] = {}
        self.unread = 0
        """Spans of passes in which messages could not be looked for."""
        self.memory = MessageMemory()
        self.seen: pa.Table = MESSAGES.empty_table()
        """Rows of MESSAGES: all of the traces of the latest pass, whether an earlier one looked at them or not."""
        self.seen_at: Ints = np.zeros(0, np.int64)
        """Of each the row of its span in the pass."""

    @property
    def dropped(self) -> int:
        """Count messages that waited for their publication, and names of channels, that a limit left out."""
        return self.memory.dropped + self.memory.channels.dropped

    def look(self, made: Relation, earlier: Relation | None, fresh: Mask) -> tuple[pa.Table, pa.Table]:
        """Find the messages of a pass.

        Args:
            made: the traces of the pass.
            earlier: what an earlier pass saw of those that it saw.
            fresh: spans of `made` that no earlier pass looked at.

        Returns:
            Rows of MESSAGES, of fresh spans; and of FLOWS, with what was counted before taken away.
        """
        self.seen, self.seen_at = MESSAGES.empty_table(), np.zeros(0, np.int64)
        after = self._find(made)
        before = self._find(earlier) if earlier is not None else NOTHING
        if not after.rows.num_rows and not before.rows.num_rows and self.memory.empty:
            return self.seen, FLOWS.empty_table()
        came, publishers, internal = after.targets(*self.memory.wanted())
        settled = self.memory.settle(after.rows, before.rows, came, publishers, internal)
        if settled.rows.num_rows:
            self.seen, self.seen_at = settled.rows.select(MESSAGES.names).cast(MESSAGES), np.asarray(settled.rows.column("row"))
        return self.seen.filter(pa.array(fresh[self.seen_at])), settled.flows

    def _find(self, made: Relation) -> Found:
        asked = parts(made, self._rules)
        if not len(asked.rows):
            return NOTHING
        if not self._fixed:
            self._tell_rules()
        facts = Facts(asked, self._fixed["message_spellings"], self._verbs)
        facts.ask_business_keys(tuple(rule.business_key_attribute for rule in self._rules.rules if rule.business_key_attribute))
        kinds = facts.kinds()
        facts.answer(self._known_facts.ask(kinds, lambda places: {"message_parts": kinds.some(places)}))
        of_version, rule = versions_asked(facts, self._rules)
        facts.answer_versions(self._known_versions.ask(of_version, lambda places: questions(facts, of_version, rule, places)))
        return messages(made, facts)

    def _tell_rules(self) -> None:
        """Give the workbench what does not change: spellings, names of operations, and rules."""
        spellings = {name: self._workbench.run(self._queries[name]) for name in ("message_spellings", "message_verbs")}
        self._fixed = spellings | rule_tables(self._rules)
        self._verbs = frozenset(word for word, _ in self._fixed["message_verbs"].column("verbs")[0].as_py())
        self._known_facts = _Answers(self._workbench, self._queries["message_facts"], self._fixed)
        self._known_versions = _Answers(self._workbench, self._queries["message_versions"], self._fixed)

    # ------------------------------------------------------------------ across restarts

    def dump(self) -> dict[str, Any]:
        """Give what is remembered as JSON values."""
        return self.memory.dump()

    def load(self, state: Mapping[str, Any]) -> None:
        """Take what `dump` gave before a restart.

        Raises:
            KeyError, ValueError, TypeError: this is no such state; nothing was taken.
        """
        self.memory.load(state)
