"""What doubt has found, in words: for a terminal, for JUnit, and as annotations of GitHub."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from xml.sax.saxutils import escape, quoteattr

from msgspec import Struct, field
from msgspec.structs import replace

from pytest_dogfood.diagnostics import counted
from pytest_dogfood.doubt.edits import Edit, marks_of, token_in_file, without_instance
from pytest_dogfood.doubt.experiments.values import Code, Experiment, Finding, Line, Unclear
from pytest_dogfood.graph import CapabilityGraph
from pytest_dogfood.journey import ChainId, JourneyId, base_of
from pytest_dogfood.no_doubt import NoDoubt

MOST_LINES = 15
"""Lines of a failure that are shown."""


class Results(Struct, frozen=True, kw_only=True):
    """The results of a whole command. `edit` has the lines of the findings, `untested` the chains that were not tested.

    `ignored` are findings that a mark `no_doubt` exempts, with its reason; `unused` the marks that exempt nothing.
    """

    graph: CapabilityGraph
    findings: Sequence[Finding] = ()
    unclear: Sequence[Unclear] = ()
    untested: Mapping[ChainId, str] = field(default_factory=dict)
    ignored: Sequence[tuple[Finding, str]] = ()
    unused: Mapping[JourneyId, str] = field(default_factory=dict)
    edit: Edit = field(default_factory=Edit)

    @property
    def counting(self) -> list[Finding]:
        """The findings that are not only hints."""
        return [one for one in self.findings if not one.hint]

    def place_of(self, finding: Finding) -> str:
        """Return where the finding is to be corrected, as `file:line`."""
        for line in finding.lines:
            if line.journey == finding.journey and line in self.edit.places:
                return f"{self.graph.journeys[line.journey].path}:{self.edit.places[line]}"
        if finding.code in _OF_TOKENS:
            definition = self.graph.capability(finding.token)
            if definition is not None:
                return f"{definition.location.path}:{definition.location.line}"
        location = self.graph.journeys[finding.journey].location
        return f"{location.path}:{location.line}"


_OF_TOKENS = frozenset(
    {Code.PROBE_TRUE, Code.PROBE_TOO_EARLY, Code.PROVIDER_DIFFERS, Code.PROVIDER_NOT_IDEMPOTENT}
)


def without_exempt(
    findings: Sequence[Finding], exempt: Mapping[JourneyId, NoDoubt], graph: CapabilityGraph
) -> tuple[list[Finding], list[tuple[Finding, str]], dict[JourneyId, str]]:
    """Return the findings that count, those that marks exempt with the reason, and the marks that exempt none.

    A finding about a token is exempted by the mark of a journey that establishes it too.
    """
    counting: list[Finding] = []
    ignored: list[tuple[Finding, str]] = []
    unused = {one: ", ".join(mark.codes) or "all codes" for one, mark in exempt.items()}
    for finding in findings:
        concerned = (finding.journey, *(graph.establishing(finding.token) if finding.token else ()))
        marks = [
            (one, exempt[one])
            for one in concerned
            if one in exempt and (not exempt[one].codes or finding.code in exempt[one].codes)
        ]
        for one, _ in marks:
            unused.pop(one, None)
        if marks:
            ignored.append((finding, marks[0][1].reason))
        else:
            counting.append(finding)
    return counting, ignored, unused


def merged(findings: Sequence[Finding], graph: CapabilityGraph) -> list[Finding]:
    """Return findings, those of several instances of one `matrix:` as one that names the others."""

    def name(journey: JourneyId) -> JourneyId:
        known = graph.journeys.get(journey)
        return without_instance(journey) if known is not None and known.matrix else journey

    found: dict[tuple[object, ...], Finding] = {}
    for one in findings:
        key = (one.code, name(one.journey), base_of(one.token), *map(name, one.guilty), one.hint)
        first = found.get(key)
        if first is None or first.journey == one.journey:
            found[key if first is None else (*key, one.chain, one.token, one.guilty)] = one
        else:
            lines = tuple(dict.fromkeys((*first.lines, *one.lines)))
            found[key] = replace(first, also=(*first.also, one.journey), lines=lines)
    return list(found.values())


def sentence(finding: Finding) -> str:  # noqa: PLR0911 - a table of codes
    """Return what a finding says, in one sentence."""
    journey, token, others = finding.journey, finding.token, " and ".join(finding.guilty)
    match finding.code:
        case Code.UNDECLARED_REQUIRES:
            return f"{journey} needs what {others} leaves, and does not require it"
        case Code.UNDECLARED_INVALIDATES:
            return f"{journey} destroys {token}, and does not say that it invalidates it"
        case Code.ORDER_MATTERS if len(finding.guilty) > 1:
            first, then = finding.guilty[:2]
            return f"{journey} fails if {first} runs before {then}, and passes if it runs behind it"
        case Code.ORDER_MATTERS:
            return f"{journey} fails if {others} runs before it"
        case Code.PROVIDER_NOT_IDEMPOTENT:
            return f"the provision steps of {token} must not run twice in the same state: the second time breaks it"
        case Code.PROVIDER_DIFFERS:
            makers = f" by {others}" if others else ""
            return f"{journey} fails if {token} is set up by its provider, and passes if it is established{makers}"
        case Code.PROBE_TRUE:
            return f"the probe of {token} says yes in an empty state, in which nothing has run"
        case Code.PROBE_TOO_EARLY:
            where = _where_present(finding)
            return f"the probe of {token} says yes{where}, although {journey}, which requires it, fails there"
        case Code.NOT_REPEATABLE:
            return f"{journey} passed once and fails ever since: it leaves something outside of its state"


def _stops(finding: Finding) -> Mapping[JourneyId, int]:
    """Return the journeys that ended half-way where it failed, each with the number of its last step."""
    return finding.proof.failing.stops if finding.proof is not None else {}


def _where_present(finding: Finding) -> str:
    """Return behind what a probe says yes too early."""
    for one, step in _stops(finding).items():
        return f" behind step {step} of {one}, before its end"
    return f" behind {' and '.join(finding.guilty)}" if finding.guilty else ""


def advice(finding: Finding) -> str:  # noqa: PLR0911 - a table of codes
    """Return what to do if there is no line to add."""
    if finding.advice:
        return f"no line was found that ends this: {finding.advice}"
    match finding.code:
        case Code.ORDER_MATTERS:
            return (
                f"look at what {finding.guilty[0]} leaves: it should clean up, or work in a place of its own"
            )
        case Code.PROVIDER_NOT_IDEMPOTENT:
            return "make its provision steps safe to run where the token is present"
        case Code.PROVIDER_DIFFERS:
            return "let the provider leave what the journey leaves, as far as others use it"
        case Code.PROBE_TRUE:
            return "let the probe ask for what the token means; if that is outside of the state, say scope: machine"
        case Code.PROBE_TOO_EARLY if _stops(finding):
            return f"let the probe ask for what the last steps of {finding.guilty[0]} leave"
        case Code.PROBE_TOO_EARLY:
            return "let the probe ask for what those that require the token use"
        case Code.NOT_REPEATABLE:
            return "let it clean up what it leaves, or check it first"
        case _:
            return ""


def to_lines(results: Results) -> Iterator[str]:
    """Yield the text of all results."""
    for finding in results.findings:
        yield from _finding_in_lines(finding, results)
        yield ""
    for one in results.unclear:
        subject = " ".join(filter(None, [one.journey, one.token and f"({one.token})"]))
        yield f"unclear: {subject or one.chain}: {one.why}"
        for text in one.texts[:2]:
            yield from _indented(text, most=6)
    for chain, why in results.untested.items():
        yield f"not tested: the chain of {chain}: {why}"
    for finding, reason in results.ignored:
        yield f"ignored: {sentence(finding)} [{finding.code}]: {reason}"
    for journey, codes in results.unused.items():
        yield f"no_doubt of {journey} exempts nothing that was found ({codes})"


def _finding_in_lines(finding: Finding, results: Results) -> Iterator[str]:
    kind = "hint: " if finding.hint else ""
    yield f"{results.place_of(finding)}: {kind}{sentence(finding)} [{finding.code}]"
    if finding.lines:
        for text in dict.fromkeys(_in_file(line, results.graph) for line in finding.lines):
            yield f"    {text}"
    elif said := advice(finding):
        yield f"    hint: {said}"
    if finding.code is Code.UNDECLARED_REQUIRES and finding.lines:
        tokens = [one.token for one in finding.lines if one.key == "requires"]
        probed = [token for token in tokens if (known := results.graph.capability(token)) and known.probe]
        if probed:
            yield f"    see that the probe of {', '.join(probed)} asks for what {finding.journey} uses"
    if finding.also:
        yield f"    the same for {', '.join(finding.also)}"
    proof = finding.proof
    if proof is None:
        return
    way = f": {proof.way}" if proof.way else ""
    failed, passed = _OUTCOMES.get(finding.code, ("failed", "passed"))
    yield f"    A {failed} {proof.times} times{way}"
    yield f"       {_in_words(proof.failing)}"
    if proof.passing is not None:
        yield f"    B {passed} {proof.times} times"
        yield f"       {_in_words(proof.passing)}"
    if proof.text:
        yield "    what A showed:"
        yield from _indented(proof.text, most=MOST_LINES)


_OUTCOMES = {
    Code.UNDECLARED_INVALIDATES: ("lost the token", "kept it"),
    Code.PROBE_TRUE: ("was wrong", "was right"),
}
"""What A and B did, where it is not that a journey failed and passed."""


def _in_file(line: Line, graph: CapabilityGraph) -> str:
    """Return what a person adds to which journey."""
    journey = graph.journeys[line.journey]
    if journey.python:
        return f"add to {line.journey}: {marks_of([line])[line.journey][0]}"
    name = without_instance(line.journey) if journey.matrix else line.journey
    token = token_in_file(line, journey)
    return f"add to {name}: {line.key}: [{token}]"


def _in_words(experiment: Experiment) -> str:
    words = []
    for one in experiment.order:
        if experiment.pause and one == experiment.order[-1]:
            words.append(f"a pause of {experiment.pause:.1f} s")
        idle = experiment.idle.get(one)
        stop = experiment.stops.get(one)
        name = one if stop is None else f"{one} up to its step {stop}"
        words.append(name if idle is None else f"a pause of {idle:.1f} s in place of {one}")
    text = ", then ".join(words)
    given = [f"{token}{' twice' if token in experiment.twice else ''}" for token in experiment.provided]
    return f"{text}; set up by its provider: {', '.join(given)}" if given else text


def _indented(text: str, *, most: int) -> Iterator[str]:
    lines = text.strip().splitlines()
    for line in lines[:most]:
        yield f"    | {line}"
    if len(lines) > most:
        yield f"    | … {counted(len(lines) - most, 'more line')}"


def to_junit(results: Results, chains: Mapping[ChainId, int], seconds: float) -> str:
    """Return a JUnit report: a case per finding, per unclear suspect, and per chain, with its number of journeys."""
    cases: list[str] = []
    for finding in results.findings:
        text = "\n".join(_finding_in_lines(finding, results))
        kind = "skipped" if finding.hint else "failure"
        name = f"{finding.code} {finding.journey or finding.token}"
        cases.append(_case(name, f"<{kind} message={_attribute(sentence(finding))}>{_text(text)}</{kind}>"))
    for one in results.unclear:
        name = f"unclear {one.journey or one.token}"
        cases.append(_case(name, f"<skipped message={_attribute(one.why)}/>"))
    for chain in chains:
        why = results.untested.get(chain)
        cases.append(_case(f"chain {chain}", f"<skipped message={_attribute(why)}/>" if why else ""))
    failures = len(results.counting)
    skipped = sum("<skipped" in one for one in cases)
    counts = f'tests="{len(cases)}" failures="{failures}" errors="0" skipped="{skipped}" time="{seconds:.3f}"'
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<testsuites><testsuite name="dogfood doubt" {counts}>\n'
        + "\n".join(cases)
        + "\n</testsuite></testsuites>\n"
    )


def _case(name: str, content: str) -> str:
    start = f'<testcase classname="dogfood.doubt" name={_attribute(name)}'
    return f"{start}>{content}</testcase>" if content else f"{start}/>"


_NOT_IN_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _attribute(text: str) -> str:
    return quoteattr(_NOT_IN_XML.sub("?", text))


def _text(text: str) -> str:
    return escape(_NOT_IN_XML.sub("?", text))


def workflow_commands(results: Results, prefix: str = "") -> Iterator[str]:
    """Yield an error of GitHub's workflow commands for each finding, at the line where its line goes.

    `prefix` leads from the root of the repository to the project.
    """
    for finding in results.counting:
        path, _, line = results.place_of(finding).rpartition(":")
        added = "; ".join(dict.fromkeys(_in_file(one, results.graph) for one in finding.lines))
        said = f"{sentence(finding)}. {added or advice(finding)}"
        where = f"{prefix.rstrip('/')}/{path}".lstrip("/")
        yield f"::error file={_property(where)},line={line},title={_property(str(finding.code))}::{_data(said)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
