"""Templates to HTML: everything a sender named is escaped, and characters that would disturb the eye are taken out."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.responses import HTMLResponse

from traced import __version__

HERE: Final = Path(__file__).parent
CONTENT_SECURITY_POLICY: Final = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
_BIDI: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def visible(value: Any) -> Any:
    """Take control and bidi characters and lone surrogates out of text: a name could otherwise turn the line around it."""
    if not isinstance(value, str) or isinstance(value, Markup) or (value.isascii() and value.isprintable()):
        return value
    return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in value if c == "\n" or (c not in _BIDI and unicodedata.category(c) != "Cc"))


def when(unix_nano: int) -> str:
    """Give a time to the second, in UTC."""
    return f"{datetime.fromtimestamp(unix_nano // 1_000_000_000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def moment(unix_nano: int) -> str:
    """Give a time to the millisecond, for what stands among others of the same second."""
    seconds, nanos = divmod(unix_nano, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{nanos // 1_000_000:03d}"


def span_of_time(seconds: float) -> str:
    """Give a length of time as people say it, in one unit."""
    for limit, divisor, unit in ((120, 1, "s"), (120 * 60, 60, "min"), (48 * 3600, 3600, "h")):
        if seconds < limit:
            return f"{max(0, round(seconds / divisor)):,} {unit}"
    return f"{round(seconds / 86400):,} days"


def duration(nanos: int) -> str:
    """Give a span's duration in the unit that leaves one to three digits before the point."""
    for limit, divisor, unit in ((1_000, 1, "ns"), (1_000_000, 1_000, "µs"), (1_000_000_000, 1_000_000, "ms")):
        if abs(nanos) < limit:
            return f"{nanos / divisor:.3g} {unit}"
    seconds = nanos / 1_000_000_000
    return f"{seconds:.3g} s" if abs(seconds) < 1000 else f"{seconds:,.0f} s"


def amount(number: float) -> str:
    """Give a count with its thousands apart."""
    return f"{number:,.0f}"


def percent(fraction: float) -> str:
    """Give a confidence in percent; only certainty itself is 100 %."""
    rounded = round(fraction * 100)
    return f"{min(rounded, 99) if fraction < 1 else rounded} %"


def size(number: float) -> str:
    """Give bytes in binary units."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"


def blocks(text: str) -> list[tuple[str, list[str]]]:
    """Split a detector's documentation into paragraphs and lists: ("text", [one]) or ("list", items)."""
    found: list[tuple[str, list[str]]] = []
    fresh = True
    for raw in text.splitlines():
        line = raw.strip()
        if not line:
            fresh = True
        elif line.startswith(("- ", "* ")):
            if found and found[-1][0] == "list":
                found[-1][1].append(line[2:])
            else:
                found.append(("list", [line[2:]]))
            fresh = False
        elif fresh or not found:
            found.append(("text", [line]))
            fresh = False
        else:
            found[-1][1][-1] += f" {line}"
    return found


def code(text: str) -> Markup:
    """Give prose with what stands in backticks as code; all of it escaped."""
    parts = str(visible(text)).split("`")
    if not len(parts) % 2:
        return escape("`".join(parts))
    return Markup("").join(Markup("<code>{}</code>").format(part) if place % 2 else escape(part) for place, part in enumerate(parts))


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "when": when,
        "moment": moment,
        "span_of_time": span_of_time,
        "duration": duration,
        "amount": amount,
        "percent": percent,
        "size": size,
        "blocks": blocks,
        "code": code,
    }
    environment.globals |= {"version": __version__}
    return environment


_ENVIRONMENT: Final = _environment()


def page(template: str, values: Mapping[str, Any], http_status: int = 200) -> HTMLResponse:
    """Render a template to a response with the content security policy; scripts and styles come from this server only."""
    html = _ENVIRONMENT.get_template(template).render(values)
    return HTMLResponse(html.encode(), http_status, {"content-security-policy": CONTENT_SECURITY_POLICY})
