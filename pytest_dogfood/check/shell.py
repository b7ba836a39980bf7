"""Findings on shell text: failures that are ignored, settings that do not last, and probes that cannot fail.

This is a reader of lines, not a shell parser: it knows quotes, here-documents and continued lines. If it cannot tell,
for instance in a script that begins by sourcing another one, it reports nothing.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence

from pytest_dogfood.diagnostics import Diagnostic, Location, remark, warning
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import Expectation, Script, Step

LINES = {
    **dict.fromkeys(("bash", "zsh", "ksh", "mksh"), "set -eo pipefail"),
    **dict.fromkeys(("sh", "dash", "ash", "busybox"), "set -e"),
}
"""For each shell the line that makes a script end if a command fails; older ones ignore failures inside a pipe."""

_STOPS = re.compile(
    r"(?:^|[;&|{(])[ \t]*(?:set[ \t][^\n;&|#]*?(?<![\w-])[-](?:[a-zA-Z]*e|[a-zA-Z]*o[ \t]+errexit)"
    r"|setopt[ \t][^\n;#]*err_?(?:exit|return)|shopt[ \t]+-[a-z]*o[a-z]*[ \t]+errexit|trap[ \t][^\n]*\bERR\b)",
    re.MULTILINE | re.IGNORECASE,
)
_HERE_DOCUMENT = re.compile(r"<<(?P<tabs>-?)[ \t]*(?P<quote>[\"'\\]?)(?P<end>\w+)")
_CONTINUED = re.compile(r"(?:\\|&&|\|\|?)$")
# Commands that only control the flow of a script, print, or are conditions.
_HARMLESS = re.compile(
    r"(?:fi|done|esac|else|then|do|elif|if|while|until|for|case|select|function|exit|return|exec|set|setopt|shopt|trap"
    r"|echo|printf|true|unset|shift|umask|wait|break|continue|test|:|\{|\}|\)|\[|\[\[)(?![\w./-])"
    r"|\(\(|[\w-]+[ \t]*\(\)|cat[ \t]+<<"
)
_ENDS = re.compile(r"(?:fi|done|esac|\}|\))(?!\w)")
_SETTING = re.compile(r"(?:export|readonly|local|declare|typeset)[ \t]|(?:\w+\+?=\S*[ \t]*)+$")
_SUBSTITUTES = re.compile(r"\$\(|`")
_QUOTED = re.compile(r"'[^']*'|\"((?:\\.|[^\"\\])*)\"", re.DOTALL)
_PATTERN = re.compile(r"^\(?[^()$`\"';&]*\)\s*")
"""The beginning of a branch of `case`."""
_READS_ANOTHER = re.compile(r"(?:\.|source)[ \t]")
_AND_OR = re.compile(r"&&|\|\|")
_CHANGES_ITS_SHELL = re.compile(
    r"(?:cd|pushd|popd|export|unset|alias|set|shopt|umask|ulimit|\.|source)(?![\w./=-])|(?:\w+\+?=\S*[ \t]*)+$"
)
_ENDS_SHELL = re.compile(r"(?:true|:|exit|return)(?![\w./=-])")
_MAY_FAIL = re.compile(r"[|<>]")
_SUCCEEDS = re.compile(r"(?:true|:|echo|printf)(?![\w./=-])|exit[ \t]+0$")


def shell_of(words: Sequence[str]) -> str:
    """Return the name of the shell that a `#!` line or a `shell:` starts; empty if it is not known here."""
    names = [word for word in words if not word.startswith("-") and "=" not in word]
    programs = [name.rpartition("/")[2] for name in names]
    if programs[:1] == ["env"]:
        programs = programs[1:]
    return programs[0] if programs and programs[0] in LINES else ""


def stops_by_itself(words: Sequence[str]) -> bool:
    """Return whether a shell is started with `-e`, alone or among other letters, or with `-o errexit`."""
    flags = [word for word in words if word.startswith("-") and not word.startswith("--")]
    return "errexit" in words or any("e" in flag for flag in flags)


def ignored_failure(text: str) -> int | None:
    """Return the number of the first line whose command may fail without ending the script; None if there is none.

    The last command does not count: its status is that of the script.
    """
    if _STOPS.search(text):
        return None
    commands = _commands(text)
    for _, command in commands:
        if _READS_ANOTHER.match(command):
            return None  # which may say `set -e`
        if not (command.startswith("cd ") or _cannot_fail(command)):
            break
    steps = [(number, command) for number, command in commands if not _ENDS.match(command)]
    for number, command in steps[:-1]:
        if not ("||" in command or command.endswith("&") or _cannot_fail(command)):
            return number
    return None


def _commands(text: str) -> list[tuple[int, str]]:
    """Return the commands of a text, each with the number of its line. Pipes, `&&` and `||` are part of a command."""
    commands: list[tuple[int, str]] = []
    for number, line in _logical_lines(text):
        # Quoted text becomes `Q`, or `$(Q` if it contains a command substitution.
        bare = _QUOTED.sub(lambda found: "$(Q" if found[1] and _SUBSTITUTES.search(found[1]) else "Q", line)
        commands += [(number, command.strip()) for command in bare.split(";") if command.strip()]
    return commands


def _cannot_fail(command: str) -> bool:
    """Return whether a command only controls the flow, prints, or sets values without running another command."""
    sets = _SETTING.match(command) and not _SUBSTITUTES.search(command)
    return bool(_HARMLESS.match(command) or sets)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the logical lines of a shell text, each with its first number; without comments and here-documents."""
    lines = iter(enumerate(text.split("\n"), start=1))
    for number, line in lines:
        code, quote = _code(line, "")
        parts = [code.strip()]
        while quote or _CONTINUED.search(parts[-1]):
            more = next(lines, None)
            if more is None:
                return  # an unclosed quote or continuation: no shell accepts it
            code, quote = _code(more[1], quote)
            parts[-1] = parts[-1].removesuffix("\\")
            parts.append(code.strip())
        whole = _PATTERN.sub("", " ".join(parts).strip())
        for found in _HERE_DOCUMENT.finditer(whole):
            for _, inside in lines:
                if (inside.lstrip("\t") if found["tabs"] else inside) == found["end"]:
                    break
        if whole:
            yield number, whole


def _code(line: str, quote: str) -> tuple[str, str]:
    """Return a line without its comment, and the quote that is open after it; `quote` is the one open before it."""
    before = " "
    letters = iter(enumerate(line))
    for at, letter in letters:
        if letter == "\\" and quote != "'":
            next(letters, None)
        elif quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter == "#" and before.isspace():
            return line[:at], ""
        before = letter
    return line, quote


def shell_findings(graph: CapabilityGraph, text_of: Callable[[Script], str]) -> Iterator[Diagnostic]:
    """Return the findings on scripts, steps and probes.

    `text_of` returns the text of a script, empty if it cannot be read.
    """
    yield from _ignored_failures(graph, text_of)
    for journey in graph.journeys.values():
        yield from _settings_that_do_not_last(journey.steps)
        established = filter(None, map(graph.capability, journey.establishes))
        if not any(capability.probe for capability in established):
            yield from _processes_without_probe(journey.steps)
    for capability in graph.capabilities.values():
        yield from _settings_that_do_not_last(capability.provision)
        if capability.probe is None:
            yield from _processes_without_probe(capability.provision)
        elif _always_succeeds(capability.probe):
            message = (
                f"the probe of {capability.token!r} always succeeds, so the token always counts as present"
            )
            hint = "write a command that exits 0 if and only if the token is present"
            yield warning(capability.probe.location, "probe-cannot-fail", message, hint)


def _settings_that_do_not_last(steps: Sequence[Step]) -> Iterator[Diagnostic]:
    """Find steps that only change their own shell: each step is started in a new one."""
    for step in steps:
        commands = _commands(step.run) if isinstance(step.run, str) else []
        parts = [part.strip() for _, command in commands for part in _AND_OR.split(command)]
        changes = [part for part in parts if _CHANGES_ITS_SHELL.match(part) and "|" not in part]
        others = [part for part in parts if part not in changes and not _ENDS_SHELL.match(part)]
        if changes and not others and step.expect == Expectation() and not step.save:
            message = "this step only changes its own shell, and the next step starts in a new one"
            hint = "use `cwd:` or `env:`, or write the command into the step that needs it"
            if any(map(_READS_ANOTHER.match, changes)):  # a file that is read may do more
                yield remark(step.location, "does-not-last", message, hint)
            else:
                yield warning(step.location, "does-not-last", message, hint)


def _processes_without_probe(steps: Sequence[Step]) -> Iterator[Diagnostic]:
    """Find steps that leave a process in the background if nothing shows when it is ready."""
    for number, step in enumerate(steps, 1):
        commands = _commands(step.run) if isinstance(step.run, str) else []
        last = commands[-1][1] if commands else ""
        awaited = any(later.until for later in steps[number:])
        if last.endswith("&") and not last.endswith("&&") and not awaited:
            message = "this step leaves a process in the background, and nothing shows when it is ready"
            hint = "start it as a `service:` with a `probe:`, or wait for it in a step with `until:`"
            yield warning(step.location, "background-without-probe", message, hint)


def _always_succeeds(probe: Step) -> bool:
    if probe.expect != Expectation() or isinstance(probe.run, Script | None):
        return False
    text = probe.run if isinstance(probe.run, str) else shlex.join(probe.run)
    # The part of each command that always runs last: any of them may end the shell.
    last = [part.strip() for _, command in _commands(text) for part in command.split("||")[-1].split("&&")]
    harmless = [part for part in last if _SUCCEEDS.match(part) and not _MAY_FAIL.search(part)]
    return bool(last) and len(harmless) == len(last) and ":?" not in text


def _ignored_failures(graph: CapabilityGraph, text_of: Callable[[Script], str]) -> Iterator[Diagnostic]:
    """Yield a remark on each script, and the first step with each `shell:`, that continues after a failed command."""
    reported: set[tuple[str, str]] = set()
    journeys = [step for one in graph.journeys.values() for step in (*one.steps, *one.cleanup)]
    definitions = [step for one in graph.capabilities.values() for step in (*one.provision, *one.release)]
    for step in (*journeys, *definitions):
        if isinstance(step.run, Script):
            yield from _of_script(step.run, text_of(step.run))
        elif isinstance(step.run, str) and step.shell not in (None, "bash", "sh"):
            # Plain `bash` and `sh` are started so that they end if a command fails.
            key = (step.location.path, step.shell)
            try:
                words = shlex.split(step.shell)
            except ValueError:
                continue  # it cannot be started, which is reported elsewhere
            if key not in reported and _ignored_by(words, step.run) is not None:
                reported.add(key)
                message = "the step continues after a command that fails, "
                message += f"because `shell: {step.shell}` does not stop"
                hint = f"write `shell: {step.shell} -e`"
                yield remark(step.location, "goes-on-after-failure", message, hint)


def _of_script(script: Script, text: str) -> Iterator[Diagnostic]:
    words = text.partition("\n")[0].removeprefix("#!").split()
    line = _ignored_by(words, text)
    if line is not None:
        flags = LINES[shell_of(words)]
        hint = f"add the line `{flags}` below its first comment"
        if "pipefail" not in flags and "|" in text.replace("||", ""):
            hint += "; to notice a failure before a pipe too, "
            hint += "use `#!/usr/bin/env bash` and `set -eo pipefail`"
        message = "the script continues if this command fails, so its journey may still pass"
        yield remark(Location(script.path, line, 1), "goes-on-after-failure", message, hint)


def _ignored_by(words: Sequence[str], text: str) -> int | None:
    """Return the first line after whose failure a shell that is started with these words continues."""
    return None if not shell_of(words) or stops_by_itself(words) else ignored_failure(text)
