"""The session-close protocol that `dogfood hub register --protocol` writes into a repository."""

from __future__ import annotations

from pathlib import Path

from pytest_dogfood.hub.errors import HubUsageError

PLACE = Path("docs", "session-close.md")

TEMPLATE = """\
# Closing a session in {slug}

Several machines work on this repository. The hub knows the status of every task; the workplans in `workplans/`
follow it. Whoever ends a session, a person or an agent, does these steps, in this order.

1. Commit your work, the workplans with it.
2. Fetch what others did:

   ```sh
   git -C <path of this repository> pull --ff-only
   ```

   If that fails, your branch and the remote's went different ways: `git pull --rebase`, and solve what it shows.
3. Bring hub and workplans together:

   ```sh
   dogfood consistency fix --repo {slug}
   ```

4. Push, also the commits that step 3 made:

   ```sh
   git -C <path of this repository> push
   ```

## What you may see

| code | what it means | what to do |
|---|---|---|
| C-13 | The hub is ahead of a workplan. Normal where work went on elsewhere: the file was not believed, nothing went back. | Nothing, or pull; `fix` writes the hub's status into the file and commits it. |
| C-13, `same_rank` | Hub and file say different things of the same rank, such as done and cancelled; neither is ahead. | If the report says so: `dogfood consistency resolve <task> --take file` or `--take hub`, with `--reason`. |
| C-14 | This checkout is behind its remote, so its files are not believed, and nothing was written. | `git pull --ff-only`, then step 3 again. |
| C-14, `dirty` | A workplan has changes that are not committed, so the hub's status was not written into it. | Commit them, then step 3 again. |
| C-28 | A task was reopened on one side only. | Pull, or `dogfood consistency reopen <task> --accept`. |

Never set a status back by hand. A task that is to be done again is reopened, with a reason:

```sh
dogfood consistency reopen <task> --reason "what came up"
```
"""  # noqa: E501 - a table row is one line


def write_protocol(root: Path, slug: str) -> Path | None:
    """Write the protocol into a repository; None if the file is there already, which is left as it is."""
    path = root / PLACE
    try:
        if not path.parent.resolve().is_relative_to(root.resolve()):
            raise HubUsageError(f"{path.parent} leads out of the repository; the protocol was not written")
        path.parent.mkdir(exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE.format(slug=slug))
    except FileExistsError:
        return None
    except OSError as error:
        raise HubUsageError(f"cannot write {path}: {error.strerror}") from error
    return path
