"""The table of dogfood.yaml: every key of a project's settings, with its values and its meaning."""

from __future__ import annotations

import re

from pytest_dogfood.fileformat.scalars import POOLS
from pytest_dogfood.fileformat.shapes import Key, Record, Word, one_of, one_or_many
from pytest_dogfood.fileformat.tables import DURATION, FILE_KEYS, FLAG, IN_DEFAULTS, TEXT

CONSISTENCY_RECORD = Record(
    name="consistency",
    description="How this repository's workplans are kept in step with the hub.",
    keys={
        "workplans": Key(
            one_or_many(
                Word(
                    re.compile(r"(?!/)(?!(?:.*/)?\.\.(?:/|$)).+"),
                    "bad-path",
                    "a directory or pattern inside the repository",
                ),
                empty_code="missing-value",
            ),
            "Directories and patterns of files that hold workplans.",
            examples=("[workplans/]",),
        ),
        "same_rank": Key(one_of("history", "hub", "hold"), "What counts on a tie (default: `history`)."),
        "commit_no_verify": Key(FLAG, "Whether commits are made without hooks."),
        "commit_sign": Key(
            one_of("inherit", "never"),
            "Whether commits are signed (default: `inherit`, as git is configured).",
        ),
        "fetch_timeout": Key(DURATION, "The limit of a fetch, in seconds."),
        "commit_timeout": Key(DURATION, "The limit of a commit, in seconds."),
        "git_timeout": Key(DURATION, "The limit of anything else of git's, in seconds."),
    },
)
SETTINGS = Record(
    name="dogfood.yaml",
    description="Definitions and defaults for a directory and all below it.",
    keys={
        "defaults": FILE_KEYS["defaults"],
        "capabilities": FILE_KEYS["capabilities"],
        "pools": Key(POOLS, "Units that `lock:` takes, by name or number.", examples=("{gpu: 2}",)),
        "hub": Key(
            Record(
                name="hub",
                description="The database that machines share.",
                keys={"id": Key(TEXT, "The id of the hub of this repository.", required=True)},
            ),
            "The database that machines share.",
        ),
        "consistency": Key(CONSISTENCY_RECORD, "How workplans are kept in step with the hub."),
    },
    elsewhere={"journeys": "journeys belong into files of their own, such as `shop.journey.yaml`"}
    | IN_DEFAULTS,
)
