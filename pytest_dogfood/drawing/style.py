"""The colours and strokes of a drawing, for a file of its own and for a drawing in a page."""

from __future__ import annotations

import re
from typing import Final

# Distinguishable with every common kind of colour blindness (after Okabe and Ito), and each with a contrast of
# at least 3:1 against white and against the dark paper, because thin lines are drawn with them.
_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#b5588f", "#a67500", "#7768c9")

_LIGHT = """\
.paper{fill:#ffffff}.band{fill:#f3f5f8;stroke:#d9dee5}.ink{fill:#1b222b}.soft{fill:#525d6a}
.box{fill:#ffffff;stroke:#5b6673}.pill{fill:#ffffff;stroke:#a3adb9}.line.wide,.box.wide{stroke:#5f6b7a}
.head.wide{fill:#5f6b7a}.box.heavy{stroke:#1b222b}.single{fill:#e1e5ea}.aim{stroke:#1b222b}
.pill.shared{fill:#e6eaef;stroke:#5f6b7a}"""

_DARK = """\
.paper{fill:#12161c}.band{fill:#1a2029;stroke:#2d3642}.ink{fill:#e8ecf1}.soft{fill:#a6b1be}
.box{fill:#232b36;stroke:#8b97a5}.pill{fill:#12161c;stroke:#5d6976}.line.wide,.box.wide{stroke:#98a4b3}
.head.wide{fill:#98a4b3}.box.heavy{stroke:#f2f5f8}.single{fill:#323c49}.aim{stroke:#f2f5f8}
.pill.shared{fill:#2f3946;stroke:#98a4b3}"""

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
        f"@media screen and (prefers-color-scheme:dark){{\n{_DARK}\n}}",
    ]
)


def page_style(prefix: str) -> str:
    """Return the style of drawings in a page."""
    return re.sub(r"\.(?=[a-z])", f".{prefix}", STYLE)


def colour_class(label: str) -> str:
    """Return the class of a chain's colour by its label, the same in every drawing; without a label that of lines."""
    return f"c{(ord(label[-1]) - ord('A')) % len(_COLOURS)}" if label else "wide"
