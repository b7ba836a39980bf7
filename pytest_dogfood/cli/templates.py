"""What `dogfood new` writes: files that run as they are, and say where one's own commands go.

Lines whose `#` has no single space behind it are keys to take up; with all of them taken up a file is right, too.
"""

from __future__ import annotations

import json
import re

from pytest_dogfood.journey import JOURNEY_ID_PATTERN, TOKEN_PATTERN, Token, base_of

_JOURNEY = """\
# One thing that your users do, as they do it, and what they must see. Run it with: pytest --dogfood
# To take up a key that stands right behind a `#`, remove the `#`; leave out what you do not need.
# `dogfood schema` prints a JSON Schema, with which editors complete and check this file.

#feature: what the journeys of this file are about

journeys:
  - id: {id}
    # Why it matters to them, and where it is promised.
    #rationale: it is the first thing that everybody tries
    #source: {{kind: readme, ref: "README.md#getting-started"}}

    # How early it runs: smoke, core or deep. If a gating journey fails, the later tiers are not run.
    #tier: core
    #gating: true

    # What must be there before it starts, and what is there for others once it has passed.
    #requires: [{needed}]
    #establishes: [{token}]

    # Each command must exit with 0, and show what is expected. Put your own in place of `echo`.
    steps:
      - intent: what the user wants
        run: echo "what the user types"
        expect: {{stdout: {{contains: what the user types}}}}

    # Steps that run however it ends.
    #cleanup:
    #  - run: echo "what must be put away"

# The tokens under `requires` are brought about by the journeys that establish them, or by what is defined here;
# definitions that several files need belong in a dogfood.yaml above them.
#capabilities:
#  {needed}:
#    description: what is there while the token holds
    # Exits 0 exactly if it is there; it is asked again before each journey that requires the token.
#    probe: test -f "$DOGFOOD_STATE/{needed}"
    # The place for the idempotent setup step: right whether nothing, half or all of it is there already.
#    provision:
#      - run: touch "$DOGFOOD_STATE/{needed}"
"""

_CAPABILITY = """\
# What holds in this directory and in all below it. In a dogfood.yaml there may be one `capabilities:` with many tokens.
# To take up a key that stands right behind a `#`, remove the `#`; leave out what you do not need.

capabilities:
  {token}:
    description: say what is there while {token} holds

    # Where it is true. `chain`: in $DOGFOOD_STATE, which the journeys that require it share, on one worker.
    # `machine`: for every worker of this machine, as a daemon is or an installed package.
    scope: chain

    # Tokens that the setup below needs itself.
    #requires: []

    # Exits 0 exactly if it is there right now, and changes nothing. It is asked before each journey that requires
    # the token, and after the setup; what it does not see, nobody sees.
    probe: test -f "$DOGFOOD_STATE/{token}"

    # The idempotent setup step: it runs when the probe says no and no journey has established the token. An earlier
    # attempt may have stopped halfway: make what is missing, and do not fail over what is there (mkdir -p, ln -sf).
    # Without it a journey that establishes the token is replayed. For a process that must stay up, put `service:` here.
    provision:
      - intent: bring it about
        run: touch "$DOGFOOD_STATE/{token}"

    # The limit of the probe.
    #timeout: 30s

    # What happens after the last journey that needs it; the state directory itself goes by itself.
    #release:
    #  - run: rm -f "$DOGFOOD_STATE/{token}"
"""

_PROJECT_SETTINGS = """\
# What holds in this directory and in all below it: definitions and defaults. Journeys are in files of their own.
# To take up a key that stands right behind a `#`, remove the `#`; leave out what you do not need.

# What every step is given, unless its file, its journey or the step itself says otherwise.
defaults:
  timeout: 60
  env:
    APP_HOME: "$DOGFOOD_STATE/app"
  #shell: bash

capabilities:
  account-ready:
    description: the user has an account
    # Exits 0 exactly if it is there; it is asked again before each journey that requires the token.
    probe: test -s "$APP_HOME/account"
    # The place for the idempotent setup step: it stands in for the journey where that one is not run, as with `-k`.
    provision:
      - run: |
          mkdir -p "$APP_HOME"
          echo ada > "$APP_HOME/account"
"""

_PROJECT_JOURNEYS = """\
# Two journeys, of which one needs what the other leaves behind. Try these:
# `pytest --dogfood`: both run, in this order, on one worker.
# `pytest --dogfood -k see-the-account`: the account is provisioned first.
# `pytest --dogfood --dogfood-check`: nothing runs, the plan is printed.
# Then put what your users do in place of these commands. `dogfood new journey ID` writes another file.

feature: accounts

journeys:
  - id: sign-up
    rationale: without an account there is nothing to do
    tier: smoke
    gating: true
    establishes: [account-ready]
    steps:
      - intent: create an account
        run: mkdir -p "$APP_HOME" && echo ada | tee "$APP_HOME/account"
        expect: {stdout: {contains: ada}}
        # A value of the later steps; for dependents it is $DOGFOOD_ACCOUNT_READY_USER, if the setup saves it as well.
        #save: {user: {stdout: "(\\\\w+)"}}

  - id: see-the-account
    requires: [account-ready]
    steps:
      - intent: see whose account it is
        run: cat "$APP_HOME/account"
        expect: {stdout: {equals: "ada\\n"}}
"""


def journey_template(id: str) -> str:  # noqa: A002 - the word that the file uses
    """Return a journey file with one journey. Raises ValueError if that cannot be an id."""
    if not JOURNEY_ID_PATTERN.fullmatch(id):
        raise ValueError(f"{id!r} is no journey id: letters, digits, '-', '_' and '.'; the first is no '-'")
    stem = re.sub(r"[^a-z0-9]+", "-", id.lower()).strip("-") or "journey"
    return _JOURNEY.format(id=_scalar(id), token=f"{stem}-done", needed=f"{stem}-prepared")


def capability_template(token: str) -> str:
    """Return a dogfood.yaml that defines a token, instances aside. Raises ValueError if that cannot be a token."""
    if not TOKEN_PATTERN.fullmatch(token):
        raise ValueError(f"{token!r} is no token: tokens are kebab-case, such as 'user-logged-in'")
    return _CAPABILITY.format(token=_scalar(base_of(Token(token))))


def project_files() -> dict[str, str]:
    """Return the files of a small project that runs, by path; none of them changes how pytest is configured."""
    return {"dogfood.yaml": _PROJECT_SETTINGS, "journeys/first.journey.yaml": _PROJECT_JOURNEYS}


def _scalar(text: str) -> str:
    """Quote what YAML could take for a number, a date or a word of its own."""
    words = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
    plain = text[0].isascii() and text[0].isalpha() and text.lower() not in words
    return text if plain else json.dumps(text)
