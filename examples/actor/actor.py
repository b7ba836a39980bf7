"""An actor: told what a user wants and what was seen so far, it says what to type next. A line in, a line out."""

from __future__ import annotations

import json
import sys

WAYS = {
    "start a repository": ['git init --quiet "$DIARY"'],
    "write an entry": [
        "cd \"$DIARY\" && echo 'It rained.' > diary.txt && git add diary.txt",  # it goes on working there
        "git commit --message 'First entry'",
    ],
    "anything is left": ['git -C "$DIARY" status --porcelain'],
    "spoil the entry": ['echo oops > "$DIARY/diary.txt"'],
    "bring back": ['git -C "$DIARY" checkout -- diary.txt'],
    "never made": ['git -C "$DIARY" show v9.9'],
    "which git": ["git --version"],
}
REPAIRS = {"Please tell me who you are": "git config user.name Ada && git config user.email ada@example.org"}


def answer(intent: str, seen: list[dict]) -> dict:
    """Decide what to do next for an intent; `seen` is what came of the commands that were given for it before."""
    way = next((commands for words, commands in WAYS.items() if words in intent), None)
    if way is None:
        return {"error": f"I do not know how to {intent!r}"}
    if seen and seen[-1]["exit"] != 0:
        repair = next((repair for sign, repair in REPAIRS.items() if sign in seen[-1]["stderr"]), None)
        return {"command": repair} if repair else {"done": True, "note": "this is how it answers"}
    succeeded = [action["command"] for action in seen if action["exit"] == 0]
    missing = [command for command in way if command not in succeeded]
    return {"command": missing[0]} if missing else {"done": True}


if __name__ == "__main__":
    for line in sys.stdin:
        asked = json.loads(line)
        seen = [action for action in asked["observations"] if action["step"] == asked["step"]["number"]]
        print(json.dumps(answer(asked["step"]["intent"], seen)), flush=True)
