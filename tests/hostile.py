"""Names as an attacker, or a careless program, would choose them."""

from __future__ import annotations

import random

FRAGMENTS = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    '"><svg/onload=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "{{ 7 * 7 }}",
    "{% raw %}",
    "&lt;b&gt;",
    "&#x3c;",
    "<!--",
    "]]>",
    "</title>",
    "</textarea>",
    "</svg>",
    "\\",
    "\\n",
    '\\"',
    "\n",
    "\r\n",
    "\t",
    "\x00",
    "\x1b[31m",
    "\x85",
    "\u2028",
    "\u202e",
    "\u2066",
    "\u200f",
    "\ufeff",
    "\U0001f600",
    "e\u0301",
    "# HELP x y",
    'traced_findings_open{a="b"} 1',
    "}",
    ",le=",
    "`",
    "$(id)",
    "../../etc",
    "%3Cb%3E",
    "\ud800",
    "a" * 300,
)


def hostile_names(count: int, seed: int) -> list[str]:
    """Give so many distinct names, each of one to four fragments; the same for the same seed."""
    chance = random.Random(seed)
    return [f"{''.join(chance.choices(FRAGMENTS, k=chance.randint(1, 4)))}{number}" for number in range(count)]
