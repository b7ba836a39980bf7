"""A lending library in one file: `library.py open`, or a verb and a name; with the books and members in $LIBRARY."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

BOOKS = ("Emma", "Middlemarch", "Ulysses")
CHANGING = {"open", "log-in", "log-out", "borrow", "reserve"}


def main(verb, name="", title=""):
    file = Path(os.environ["LIBRARY"])
    library = json.loads(file.read_text(encoding="utf-8")) if verb != "open" else {"members": {}}
    if verb in {"search", *CHANGING}:
        # It takes its time, as real libraries do: that is why it pays to run several things at once.
        time.sleep(float(os.environ.get("LIBRARY_PACE", "0.3")))
    if verb == "log-in":
        library["members"][name] = []
    elif verb != "open" and name not in library["members"]:
        sys.exit(f"{name} is not logged in")
    elif verb == "log-out":
        del library["members"][name]
    elif verb == "search":
        print(*(book for book in BOOKS if title in book), sep="\n")
    elif verb in {"borrow", "reserve"}:
        library["members"][name].append(f"{title} ({verb})")
    elif verb == "card":
        print(*library["members"][name], sep="\n")
    if verb in CHANGING:
        file.write_text(json.dumps(library), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
