"""SVG as text: escaping, elements, and a style sheet that reads well on light and on dark paper."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Final

Point = tuple[float, float]

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

# Told apart by every common kind of colour blindness (after Okabe and Ito), and each with a contrast of
# at least 3:1 against white and against the dark paper, since thin lines are drawn with them.
_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#b5588f", "#a67500", "#7768c9")

_LIGHT = """\
.paper{fill:#ffffff}.band{fill:#f3f5f8;stroke:#d9dee5}.ink{fill:#1b222b}.soft{fill:#525d6a}
.box{fill:#ffffff;stroke:#5b6673}.pill{fill:#ffffff;stroke:#a3adb9}.line.wide,.box.wide{stroke:#5f6b7a}
.head.wide{fill:#5f6b7a}.box.heavy{stroke:#1b222b}.single{fill:#e1e5ea}.aim{stroke:#1b222b}
.pill.machine{fill:#e6eaef;stroke:#5f6b7a}"""

_DARK = """\
.paper{fill:#12161c}.band{fill:#1a2029;stroke:#2d3642}.ink{fill:#e8ecf1}.soft{fill:#a6b1be}
.box{fill:#232b36;stroke:#8b97a5}.pill{fill:#12161c;stroke:#5d6976}.line.wide,.box.wide{stroke:#98a4b3}
.head.wide{fill:#98a4b3}.box.heavy{stroke:#f2f5f8}.single{fill:#323c49}.aim{stroke:#f2f5f8}
.pill.machine{fill:#2f3946;stroke:#98a4b3}"""

STYLE: Final = "\n".join(
    [
        "text{font-family:ui-sans-serif,system-ui,'DejaVu Sans',Arial,sans-serif}",
        ".code{font-family:ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace}",
        ".line{fill:none;stroke-width:1.6}.line.dashed,.box.dashed{stroke-dasharray:6 4}",
        ".line.dotted{stroke-dasharray:1 4;stroke-linecap:round;stroke-width:2}.line.heavy{stroke-width:4.2}",
        ".box{stroke-width:1.2}.box.heavy{stroke-width:3.2}.aim{fill:none;stroke-width:1.4;stroke-dasharray:2 3}",
        ".badge{font-weight:700}.strong{font-weight:700}",
        *(
            f".line.c{index}{{stroke:{colour}}}.head.c{index},.strip.c{index}{{fill:{colour}}}"
            for index, colour in enumerate(_COLOURS)
        ),
        f".badge{{fill:#10151b}}.badge.c{_COLOURS.index('#0072b2')}{{fill:#ffffff}}",
        _LIGHT,
        f"@media(prefers-color-scheme:dark){{\n{_DARK}\n}}",
    ]
)


def escaped(text: str) -> str:
    """Make any text safe within elements and attributes; what no XML may hold is replaced."""
    return escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text))


def element(name: str, content: str = "", /, **attributes: str | float) -> str:
    """Write an element. Attribute values are escaped, content is markup already; `_` in names stands for `-`."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(it)}"' for key, it in attributes.items()
    )
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def text_element(x: float, y: float, text: str, size: float, style: str, *, middle: bool = False) -> str:
    anchor = {"text_anchor": "middle"} if middle else {}
    return element("text", escaped(text), x=x, y=y, font_size=size, class_=style, **anchor)


def colour_class(label: str) -> str:
    """Name the colour of the chain with this label, the same in every drawing; without a label it is that of lines."""
    return f"c{(ord(label[-1]) - ord('A')) % len(_COLOURS)}" if label else "wide"


def number(value: float) -> str:
    """Write a coordinate, to a tenth of a pixel and without needless zeros."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def path_data(uprights: Sequence[tuple[Point, Point]], *, short_of_end: float = 0.0) -> str:
    """Write a route as SVG path data; `short_of_end` leaves room for the head of an arrow."""
    (x, y), _ = uprights[0]
    last = uprights[-1][1][1] - short_of_end
    parts = [f"M{number(x)},{number(y)}"]
    for index, ((next_x, top), (_, bottom)) in enumerate(uprights):
        if index:
            parts.append(_curve(x, y, next_x, min(top, last)))
        if number(bottom) != number(top) and top < last:
            parts.append(f"V{number(min(bottom, last))}")
        x, y = next_x, bottom
    return "".join(parts)


def _curve(x: float, y: float, end_x: float, end_y: float) -> str:
    if number(x) == number(end_x):
        return f"V{number(end_y)}"
    half = number((y + end_y) / 2)
    return f"C{number(x)},{half} {number(end_x)},{half} {number(end_x)},{number(end_y)}"


def _value(value: str | float) -> str:
    return escaped(value) if isinstance(value, str) else number(value)
