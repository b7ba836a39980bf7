"""However a program writes a value down, what is left of it is three stars."""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import shlex
import string
from collections.abc import Callable
from urllib.parse import quote, quote_plus
from xml.sax import saxutils

import pytest
from hypothesis import example, given, settings, strategies as st

from pytest_dogfood.execution.masking import SecretKeeper

LAW = settings(deadline=None, max_examples=40)


def as_json(value: str) -> str:
    return json.dumps(value)[1:-1]


def as_json_of_go(value: str) -> str:
    """Go, and others that think of HTML, also escape the ampersand and the angle brackets."""
    escaped = json.dumps(value, ensure_ascii=False)[1:-1]
    return escaped.replace("&", r"\u0026").replace("<", r"\u003c").replace(">", r"\u003e")


def as_c(value: str) -> str:
    """What is not ASCII as octal digits, as git shows it."""
    quoted = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n").replace("\t", r"\t")
    return "".join(
        letter
        if letter.isascii() and letter.isprintable()
        else "".join(f"\\{byte:03o}" for byte in letter.encode())
        for letter in quoted
    )


def as_csv(value: str) -> str:
    file = io.StringIO()
    csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="").writerow([value])
    return file.getvalue()[1:-1]


WRITE: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "JSON": as_json,
    "JSON that is not ASCII": lambda value: json.dumps(value, ensure_ascii=False)[1:-1],
    "JSON of PHP": lambda value: as_json(value).replace("/", r"\/"),
    "JSON of Go": as_json_of_go,
    "JSON of Gson": lambda value: as_json_of_go(value).replace("'", r"\u0027").replace("=", r"\u003d"),
    "JSON within JSON": lambda value: as_json(as_json(value)),
    "JSON within JSON within JSON": lambda value: as_json(as_json(as_json(value))),
    "HTML": html.escape,
    "HTML that leaves quotes": lambda value: html.escape(value, quote=False),
    "HTML of Go": lambda value: html.escape(value).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
    "XML": lambda value: saxutils.escape(value, {"'": "&apos;", "\n": "&#10;"}),
    "XML in ASCII": lambda value: html.escape(value).encode("ascii", "xmlcharrefreplace").decode(),
    "an XML attribute": lambda value: saxutils.quoteattr(value)[1:-1],
    "HTML within HTML": lambda value: html.escape(html.escape(value)),
    "HTML within JSON": lambda value: as_json(html.escape(value)),
    "JSON within HTML": lambda value: html.escape(as_json(value)),
    "Python": lambda value: repr(value)[1:-1],
    "bytes of Python": lambda value: repr(value.encode())[2:-1],
    "Python in ASCII": lambda value: ascii(value)[1:-1],
    "Python within Python": lambda value: repr(repr(value)[1:-1])[1:-1],
    "unicode_escape": lambda value: value.encode("unicode_escape").decode(),
    "C": as_c,
    "SQL": lambda value: value.replace("'", "''"),
    "SQL of MySQL": lambda value: value.replace("\\", r"\\").replace("'", r"\'").replace('"', r"\""),
    "an identifier of SQL": lambda value: value.replace('"', '""'),
    "CSV": as_csv,
    "the shell": lambda value: shlex.quote(f"'{value}'")[6:-6],
    "set -x": lambda value: value.replace("'", r"'\''"),
    "the shell within JSON": lambda value: as_json(shlex.quote(f"'{value}'")[6:-6]),
    "a URL": lambda value: quote(value, safe=""),
    "a path in a URL": quote,
    "a query string": quote_plus,
    "a URL within a URL": lambda value: quote(quote(value, safe=""), safe=""),
    "hexadecimal digits": lambda value: value.encode().hex(),
    "capital hexadecimal digits": lambda value: value.encode().hex().upper(),
    "percent signs throughout": lambda value: "".join(f"%{byte:02X}" for byte in value.encode()),
    "small percent signs throughout": lambda value: "".join(f"%{byte:02x}" for byte in value.encode()),
    "C digits throughout": lambda value: "".join(f"\\x{byte:02x}" for byte in value.encode()),
}

PRINTED = string.ascii_letters + string.digits + string.punctuation + " \n\tä€😀\x1b\u2028"
values = st.text(st.sampled_from(PRINTED) | st.sampled_from("'\"\\/&<%"), min_size=8, max_size=30).filter(
    lambda value: len(value.strip()) >= 8
)


@pytest.mark.parametrize("way", WRITE)
@LAW
@example('it\'s a "s3cret"/päss+word\\')
@example("''\\\\\"\"//%%25&amp;x")
@given(values)
def test_whatever_the_value_nothing_of_it_is_left(way: str, value: str) -> None:
    written = f"x{WRITE[way](value)}x"
    secrets = SecretKeeper([value])
    assert secrets.mask(written) == "x***x"
    assert secrets.mask_bytes(written.encode()) == b"x***x"


@LAW
@given(values, st.binary(max_size=4), st.binary(max_size=4))
def test_inside_of_base64_at_most_a_character_of_it_is_left_at_each_end(
    value: str, before: bytes, after: bytes
) -> None:
    encoded = base64.b64encode(before + value.encode() + after).decode()
    masked = SecretKeeper([value]).mask(encoded)
    rest = len(base64.b64encode(before)) + len(base64.b64encode(after))
    assert masked.count("***") == 1
    assert len(masked) <= rest + len("***") + 4


@pytest.mark.parametrize(
    "encoding", ["hexadecimal digits", "percent signs throughout", "C digits throughout"]
)
def test_seven_characters_are_too_few_to_be_looked_for_in_digits(encoding: str) -> None:
    written = WRITE[encoding]("s3cret!")
    assert SecretKeeper(["s3cret!"]).mask(written) == written


def test_the_escapes_between_two_values_are_not_taken_for_either() -> None:
    assert SecretKeeper(["abc'def"]).mask("abc'def abc def abcdef") == "*** abc def abcdef"


@pytest.mark.parametrize(
    "value",
    [
        "'" * 40 + "x",
        "\\" * 40 + "x",
        "%25" * 12 + "x",
        "\"'" * 12 + "x",
        "&amp;" * 12 + "x",
        '\\"' * 12 + "x",
    ],
)
def test_a_text_that_almost_holds_the_value_again_and_again_takes_no_longer(value: str) -> None:
    text = value[:-1] * 50 + "y"
    assert SecretKeeper([value]).mask(text) == text


def test_a_key_of_many_lines_is_hidden_as_one_in_json() -> None:
    key = "-----BEGIN KEY-----\n" + "MIIEvQ/BADAN+Bg=\n" * 30 + "kq==\n-----END KEY-----\n"
    assert SecretKeeper([key]).mask(f"x{as_json(key)}x") == "x***x"
