"""One JUnit file for all shards, as pytest writes it for one run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from xml.etree import ElementTree as ET

from msgspec import Struct

from pytest_dogfood.outcomes import Outcome
from pytest_dogfood.report.merge import Merged

_TAGS = {
    Outcome.FAILED: ("failure", ""),
    Outcome.ERROR: ("error", ""),
    Outcome.CRASHED: ("error", ""),
    Outcome.DEFERRED: ("skipped", "pytest.skip"),
    Outcome.SKIPPED: ("skipped", "pytest.skip"),
    Outcome.NO_ACTOR: ("skipped", "pytest.skip"),
    Outcome.XFAILED: ("skipped", "pytest.xfail"),
}


class _Case(Struct, frozen=True, kw_only=True):
    nodeid: str
    outcome: Outcome
    seconds: float = 0.0
    text: str = ""
    message: str = ""
    properties: tuple[tuple[str, str], ...] = ()


def to_junit(merged: Merged) -> bytes:
    """Return the file's content. What did not run, or could not be collected, is an error in it."""
    cases = list(_cases(merged))
    kinds = Counter(_TAGS[case.outcome][0] for case in cases if case.outcome in _TAGS)
    root = ET.Element("testsuites", name="pytest tests")
    suite = ET.SubElement(
        root,
        "testsuite",
        name="pytest",
        tests=str(len(cases)),
        failures=str(kinds["failure"]),
        errors=str(kinds["error"]),
        skipped=str(kinds["skipped"]),
        time=f"{sum(case.seconds for case in cases):.3f}",
    )
    for case in cases:
        _add(suite, case)
    content: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return content + b"\n"


def _cases(merged: Merged) -> Iterator[_Case]:
    for item in merged.records():
        yield _Case(
            nodeid=item.nodeid,
            outcome=item.outcome,
            seconds=item.seconds,
            text=item.text,
            message=item.message,
            properties=item.properties,
        )
    for nodeid, shard in merged.unaccounted.items():
        why = "left no manifest" if shard in merged.missing_shards else "did not run it"
        text = f"unaccounted: shard {shard}/{merged.total} {why}"
        yield _Case(nodeid=nodeid, outcome=Outcome.ERROR, message=text, text=text)
    for nodeid, text in merged.uncollected.items():
        yield _Case(nodeid=nodeid, outcome=Outcome.ERROR, message="could not be collected", text=text)


def _add(suite: ET.Element, case: _Case) -> None:
    classname, name = _names(case.nodeid)
    element = ET.SubElement(suite, "testcase", classname=classname, name=name, time=f"{case.seconds:.3f}")
    if case.properties:
        properties = ET.SubElement(element, "properties")
        for key, value in case.properties:
            ET.SubElement(properties, "property", name=_xml(key), value=_xml(value))
    if case.outcome in _TAGS:
        tag, kind = _TAGS[case.outcome]
        about = {"type": kind} if kind else {}
        ET.SubElement(element, tag, about, message=_xml(case.message)).text = _xml(case.text)


def _names(nodeid: str) -> tuple[str, str]:
    """Return what pytest calls class and name; parameters may hold any of the separators."""
    address, bracket, parameters = nodeid.partition("[")
    path, *within = address.split("::")
    words = [path.removesuffix(".py").replace("/", "."), *within]
    return _xml(".".join(words[:-1])), _xml(words[-1] + bracket + parameters)


def _xml(text: str) -> str:
    """Replace what XML 1.0 cannot hold."""
    return "".join(
        char
        if char in "\t\n" or " " <= char <= "\ud7ff" or "\ue000" <= char <= "\ufffd" or char > "\uffff"
        else f"#x{ord(char):02X}"
        for char in text
    )
