"""The workplans of the histories: three files, each written in another way, and how people read and edit them.

Nothing here comes from the product: what it does to these bytes is judged by another reading of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PLAIN = """\
---
type: workplan
status: todo
---
# Plain

Last words: 0

## A-T1 — build it

```task
id: A-T1
status: todo
```

```python
status = "todo"  # status: todo
```

## Ship it

```task
id: A-T2
status: in_progress  # status: todo, until Monday
priority: high
```
"""

FOREIGN = """\
\ufeff---
type: workplan
---
# Überall, by an editor of another system

Last words: 0

```task
id: B-T1
status: "todo"
reopened: 0
note: 'status: todo'
```

<!--
```task
id: B-T01
status: todo
```
-->

~~~~ task
id: B-T2
status:   'blocked'	# é — 🎉
~~~~
""".replace("\n", "\r\n")

NARROW = """\
---
type: workplan
---
# Without a newline at the end

Last words: 0

  ~~~task
  id: C-T1
  status: todo
  ~~~

`````markdown
```task
id: C-T01
status: todo
```
`````

```task
id: C-T2
status: todo
```"""

FILES: Mapping[str, bytes] = {
    "workplans/A-WP-0001.md": PLAIN.encode(),
    "workplans/B-WP-0002.md": FOREIGN.encode(),
    "workplans/deep er/C-WP-0003.md": NARROW.encode(),
}
TASKS = ("A-T1", "A-T2", "B-T1", "B-T2", "C-T1", "C-T2")

_TASK = re.compile(
    rb"(?P<before>^(?P<margin> *)id: (?P<id>[ABC]-T\d)\r?\n *status:[ \t]+[\"']?)(?P<status>\w+)"
    rb"(?P<rest>[\"']?[^\r\n]*)(?P<end>\r?\n)(?: *reopened: (?P<count>\d+)\r?\n)?",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a file says of one task."""

    status: str
    reopened: int = 0


def path_of(task_id: str) -> str:
    """Name the file that a task stands in."""
    return next(path for path, content in FILES.items() if f"id: {task_id}".encode() in content)


def entries(content: bytes) -> dict[str, Entry]:
    """Return what a file says, in the order in which it says it."""
    return {
        found["id"].decode(): Entry(found["status"].decode(), int(found["count"] or 0))
        for found in _TASK.finditer(content)
    }


def entries_in(directory: Path) -> dict[str, Entry]:
    """Return what all files of a checkout say."""
    return {name: entry for path in FILES for name, entry in entries((directory / path).read_bytes()).items()}


def edited(content: bytes, task_id: str, status: str, *, reopened: int | None = None) -> bytes:
    """Set a status, and a count of reopens, as a person does in an editor."""

    def edit(found: re.Match[bytes]) -> bytes:
        if found["id"].decode() != task_id:
            return found[0]
        count = found["count"] if reopened is None else str(reopened).encode()
        more = b"%breopened: %b%b" % (found["margin"], count, found["end"]) if count is not None else b""
        return found["before"] + status.encode() + found["rest"] + found["end"] + more

    return _TASK.sub(edit, content)


def with_words(content: bytes, words: int) -> bytes:
    """Change something that is no task."""
    return re.sub(rb"(Last words: )\d+", rb"\g<1>%d" % words, content)


def besides_statuses(content: bytes) -> bytes:
    """Return what nobody but a person may change."""
    return re.sub(
        _TASK, lambda found: found[0].replace(found["before"] + found["status"], found["before"]), content
    )


def besides_tasks(content: bytes) -> bytes:
    """Return what a deliberate move must not change either: it may count a reopen, too."""
    return re.sub(_TASK, lambda found: found["before"] + found["rest"] + found["end"], content)
