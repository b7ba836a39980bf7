"""A model as files: shell steps and Python tests that write into a log what they do and what they miss."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.ordinary.model import FAILS, HANGS, LEAVES, UNCLEAN, Item, Model, Token

LIBRARY = r"""
say() { printf '%s\n' "$*" >>"$DF_LOG"; }
broken() { [ ! -e "$DOGFOOD_ROOT/mended" ]; }

# flaky WHO: tell whether it is to fail this time, which it is once in a run
flaky() { [[ " ${DF_FLAKY:-} " == *" $1 "* ]] && mkdir "$DF_LOG.$1.failed" 2>/dev/null; }
nap() { if [ -n "${DF_SLOW:-}" ]; then sleep "$DF_SLOW"; fi; }

# number FILE: sets $number to what tells this artefact from any made before or after it
number() { number=; [ ! -e "$1" ] || read -r _ number <"$1"; }

# there FILE: it exists, its process runs, and so is all that it was built on
there() {
  [ -e "$1" ] || return 1
  local kind first second lines
  mapfile -t lines <"$1"
  for line in "${lines[@]}"; do
    read -r kind first second <<<"$line"
    case $kind in
      process) kill -0 "$first" 2>/dev/null || return 1 ;;
      on) number "$first"; [ "$number" = "$second" ] && there "$first" || return 1 ;;
    esac
  done
}

# build TOKEN FILE NUMBER PROCESS [BASE...]: write an artefact down, whole or not at all
build() {
  local token=$1 file=$2 own=$3 process=$4; shift 4
  { echo "number $own"
    [ -z "$process" ] || echo "process $process"
    for base; do number "$base"; echo "on $base $number"; done
  } >"$file.new.$BASHPID"
  mv "$file.new.$BASHPID" "$file"
  say made "$token" "$file" "$@"
}

# make TOKEN FILE [BASE...]: leave an artefact behind unless it is there; print its number
make() {
  exec 9>"$DF_LOG.made"; flock 9  # two that establish the same may run at once
  there "$2" || build "$1" "$2" "${EPOCHREALTIME//[!0-9]/}-$BASHPID" "" "${@:3}"
  exec 9>&-
  number "$2"; echo "$1=$number"
}

# lose TOKEN FILE: destroy it
lose() {
  local word process
  say lost "$1" "$2"
  if [ -e "$2" ]; then
    while read -r word process _; do [ "$word" != process ] || kill "$process" || true; done <"$2"
  fi
  rm -f "$2"
}

# need WHO TOKEN FILE VALUE: complain unless it is there, and the value is that of what is there
need() {
  there "$3" || { say violation "$1" "misses $2"; return 0; }
  number "$3"
  case $4 in
    unasked | "$number" | "${number%%-*}") ;;
    *) say violation "$1" "has '$4' for $2, which is $number" ;;
  esac
}

# known WHO TOKEN VALUE: complain if there is no value
known() { [ -n "$3" ] || say violation "$1" "is not told the value of $2"; }

# hold WHO LOCK...: complain if it is held by another; keep it for a moment
hold() {
  local who=$1 lock; shift
  trap "cd \"\${DF_LOG%/*}\"; for lock in $*; do rmdir \"\$DF_LOG.\$lock\" 2>/dev/null || true; done" EXIT
  for lock; do mkdir "$DF_LOG.$lock" 2>/dev/null || say violation "$who" "shares $lock"; done
  sleep 0.03
  for lock; do rmdir "$DF_LOG.$lock" 2>/dev/null || true; done
  trap - EXIT
}
"""

MODULE = """
import os
import subprocess
from pathlib import Path

import pytest


def in_shell(state, values, text):
    places = {"STATE": state, "SHARED": state.parent / "shared", "ROOT": Path(__file__).parent}
    (state.parent / "shared").mkdir(exist_ok=True)
    variables = {
        f"DOGFOOD_{token.upper()}_{name.upper()}": text
        for token, names in values.items()
        for name, text in names.items()
    }
    variables |= {f"DOGFOOD_{name}": str(path) for name, path in places.items()}
    command = ["bash", "-eo", "pipefail", "-c", text]
    done = subprocess.run(command, env={**os.environ, **variables}, check=True, stdout=subprocess.PIPE, text=True)
    return {f"of_{one}": number for one, _, number in (line.partition("=") for line in done.stdout.splitlines())}


@pytest.fixture
def unclean():
    yield
    assert (Path(__file__).parent / "mended").exists()
"""

PROVIDERS = """
import time

import pytest

import pytest_dogfood
"""

PROVIDER = """
@pytest_dogfood.provides("{token}")
@pytest.fixture
def provide_{token}(dogfood_state):
    number = str(time.time_ns())
    (dogfood_state / "{token}").write_text(f"number {{number}}\\n")
    yield {{"of_{token}": number}}
    (dogfood_state / "{token}").unlink()
"""

SOURCE = '. "$DOGFOOD_ROOT/library.sh"'


def write(model: Model, directory: Path) -> None:
    """Write the project's files."""
    (directory / "library.sh").write_text(LIBRARY)
    (directory / "pytest.ini").write_text("[pytest]\ndogfood_min_measured = 0\n")
    capabilities = {token.name: _capability(model, token) for token in model.tokens}
    (directory / "dogfood.yaml").write_text(json.dumps({"capabilities": capabilities}, indent=1))
    (directory / "conftest.py").write_text("\n".join([PROVIDERS, *_fixtures(model)]))
    files: dict[str, list[object]] = defaultdict(list)
    tests: dict[str, list[str]] = defaultdict(list)
    for item in model.items:
        if item.python:
            tests[item.file].append(_test(model, item))
        else:
            files[item.file].append(_journey(model, item))
    for path, journeys in files.items():
        (directory / path).write_text(json.dumps({"journeys": journeys}, indent=1))
    for path, functions in tests.items():
        (directory / path).write_text("\n\n".join([MODULE, *functions]))


def _fixtures(model: Model) -> Iterator[str]:
    for token in model.tokens:
        if token.fixture:
            yield PROVIDER.format(token=token.name)


def _file(model: Model, token: str) -> str:
    return f'"$DOGFOOD_{"SHARED" if model.token(token).machine else "STATE"}/{token}"'


def _files(model: Model, tokens: tuple[str, ...]) -> str:
    return " ".join(_file(model, token) for token in tokens)


def _value(model: Model, token: str) -> str:
    name = "PORT" if model.token(token).service else f"OF_{token.upper()}"
    return f'"${{DOGFOOD_{token.upper()}_{name}:-}}"'


def _needs(model: Model, who: str, tokens: tuple[str, ...], *, asked: bool = True) -> list[str]:
    lines: list[str] = []
    for token in tokens:
        value = _value(model, token) if asked else "unasked"
        lines.append(f"need {who} {token} {_file(model, token)} {value}")
    return lines


def _told(model: Model, who: str, tokens: tuple[str, ...]) -> list[str]:
    """Look at the values of what the required capabilities require themselves."""
    below = [need for token in tokens for need in model.token(token).needs]
    return [f"known {who} {need} {_value(model, need)}" for need in below]


def _first_part(model: Model, item: Item, *, asked: bool = True) -> str:
    return "\n".join(
        [
            SOURCE,
            f'say start {item.id} "$DOGFOOD_STATE"',
            *_needs(model, item.id, item.requires, asked=asked),
            *(_told(model, item.id, item.requires) if not item.python else ()),
            "nap",
            f'if flaky {item.id}; then say fail {item.id} "$DOGFOOD_STATE"; exit 1; fi',
            *([f"hold {item.id} {' '.join(item.locks)}"] if item.locks else ()),
            *([f'if broken; then say fail {item.id} "$DOGFOOD_STATE"; exit 1; fi'] * (item.fault == FAILS)),
            *(f"lose {token} {_file(model, token)}" for token in item.invalidates),
            *(
                f"make {token} {_file(model, token)} {_files(model, item.bases)}"
                for token in item.establishes
            ),
            *_others(model, item.establishes),
        ]
    )


def _second_part(item: Item) -> str:
    then = {LEAVES: "exit 1", HANGS: "sleep 60"}.get(item.fault)
    fail = [f'if broken; then say fail {item.id} "$DOGFOOD_STATE"; {then}; fi'] * bool(then)
    return "\n".join([SOURCE, *fail, f'say end {item.id} "$DOGFOOD_STATE"'])


def _others(model: Model, made: tuple[str, ...]) -> list[str]:
    """Return that there is no value for what is saved by others that establish the same, but not made here."""
    return [f"echo {name}=none" for name in (model.saved_with(made[0]) if made else ()) if name not in made]


def _saves(tokens: list[str]) -> dict[str, object]:
    return {f"of_{token}": {"stdout": f"{token}=(\\S+)"} for token in tokens}


def _journey(model: Model, item: Item) -> dict[str, object]:
    saves = _saves(model.saved_with(item.establishes[0])) if item.establishes else {}
    seen = " ".join(f'"${{of_{token}:-none}}"' for token in item.establishes)
    clean_up = f'{SOURCE}; say cleaned {item.id} "$DOGFOOD_STATE" {seen}'
    fails = "; if broken; then exit 1; fi" * (item.fault == UNCLEAN)
    return {
        "id": item.id,
        "requires": list(item.requires),
        "establishes": list(item.establishes),
        "invalidates": list(item.invalidates),
        "locks": list(item.locks),
        "tier": item.tier,
        "gating": item.gating,
        "marks": [item.mark] if item.mark else [],
        "steps": [
            {"run": _first_part(model, item), **({"save": saves} if saves else {})},
            {"run": _second_part(item), **({"timeout": "0.5s"} if item.fault == HANGS else {})},
        ],
        "cleanup": [{"run": clean_up + fails}],
    }


def _test(model: Model, item: Item) -> str:
    asks = bool(item.establishes) or item.id[-1] in "02468"
    marks = [f"@pytest.mark.{item.mark}" for _ in [0] if item.mark]
    marks += [f"@pytest.mark.requires(*{item.requires!r})"] * bool(
        item.requires
    )  # one, for it keeps their order
    marks += [f"@pytest.mark.establishes({token!r})" for token in item.establishes]
    marks += [f"@pytest.mark.invalidates({token!r})" for token in item.invalidates]
    fixtures = ["dogfood_state", *(["capabilities"] if asks else []), *["unclean"] * (item.fault == UNCLEAN)]
    values = f"{{token: capabilities[token] for token in {item.requires!r}}}" if asks else "{}"
    lines = [
        *marks,
        f"def {item.name}({', '.join(fixtures)}):",
        f"    saved = in_shell(dogfood_state, {values}, {_first_part(model, item, asked=asks)!r})",
        *(["    capabilities.save(**saved)"] if asks and item.establishes else []),
        f"    in_shell(dogfood_state, {{}}, {_second_part(item)!r})",
        "",
    ]
    return "\n".join(lines)


def _capability(model: Model, token: Token) -> dict[str, object]:
    file = _file(model, token.name)
    written: dict[str, object] = {
        "scope": "machine" if token.machine else "chain",
        "requires": list(token.needs),
        "release": [
            {"run": f'{SOURCE}; say release {token.name} {file} "${{DOGFOOD_RELEASE_OF:-}}"; rm -f {file}'}
        ],
    }
    if token.fixture:
        del written["release"]
    if token.locks:
        written["lock"] = list(token.locks)
    if token.probe:
        written["probe"] = f"{SOURCE}; there {file}"
    if token.provision:
        # To leave what a journey made would be to take over what that rests on, which is not declared here.
        established = any(token.name in item.establishes for item in model.items)
        lines = [
            SOURCE,
            f"say provision {token.name} {file}",
            *_needs(model, f"provision-{token.name}", token.needs),
            *([f"hold provision-{token.name} {' '.join(token.locks)}"] if token.locks else ()),
            *([f"rm -f {file}"] if established else ()),
            f"make {token.name} {file} {_files(model, token.needs)}",
            *_others(model, (token.name,)),
        ]
        written["provision"] = [{"run": "\n".join(lines), "save": _saves(model.saved_with(token.name))}]
    if token.service:
        port = f"$DOGFOOD_{token.name.upper()}_PORT"
        lines = [
            SOURCE,
            f"say provision {token.name} {file}",
            *_needs(model, f"service-{token.name}", token.needs),
            f"trap 'say down {token.name} {file}; rm -f {file}; exit 0' TERM",
            f'build {token.name} {file} "{port}-$$-$EPOCHREALTIME" $$ {_files(model, token.needs)}',
            "while :; do sleep 60 & wait $!; done",
        ]
        written["service"] = {"run": "\n".join(lines), "ports": ["port"]}
    return written
