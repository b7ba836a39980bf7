from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given, strategies as st

from pytest_dogfood.fileformat.nodes import Findings, ListNode, MapNode, Node, ScalarNode
from pytest_dogfood.fileformat.scalars import resolve_value
from pytest_dogfood.fileformat.syntax import MAX_BYTES, read_document, read_yaml

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)


def read(text: str | bytes, path: str = "a.yaml") -> tuple[Node | None, list[tuple[str, int, int]]]:
    findings = Findings(path)
    node = read_document(text.encode() if isinstance(text, str) else text, findings)
    return node, [(found.code, found.location.line, found.location.column) for found in findings.sorted()]


def entry(node: Node | None, key: str) -> Node:
    assert isinstance(node, MapNode)
    return node.entries[key][1]


def places(node: Node | None) -> list[tuple[str, int, int]]:
    match node:
        case ScalarNode():
            return [(node.value, node.line, node.column)]
        case ListNode():
            return [place for item in node.items for place in places(item)]
        case MapNode():
            return [place for pair in node.entries.values() for part in pair for place in places(part)]
        case None:
            return []


@pytest.mark.parametrize(
    "content,found",
    [
        ("", ("empty-file", 1, 1)),
        ("  \n\n", ("empty-file", 1, 1)),
        ("# only a comment\n", ("empty-file", 1, 1)),
        ("---\n", ("empty-file", 2, 1)),
        ("a: 1\n---\nb: 2\n", ("multiple-documents", 2, 1)),
        (b"a: 1\nb: \xff\n", ("not-utf8", 2, 4)),
        ("a: é\n".encode() + b"b: \xc3", ("not-utf8", 2, 4)),
        ("a: 1\n".encode("utf-16"), ("not-utf8", 1, 1)),
        (b"a: 1\nb: x\0y\n", ("nul-byte", 2, 5)),
        ("a: 1\nb: x\x07y\n", ("not-yaml", 2, 5)),
        ("a: 1\na: 2\n", ("duplicate-key", 2, 1)),
        ("x:\n  - {b: 1, c: 2, b: 3}\n", ("duplicate-key", 2, 18)),
        ("run: ! grep x\n", ("yaml-tag", 1, 6)),
        ("run: !!str 5\n", ("yaml-tag", 1, 6)),
        ("run: !shell {a: 1}\n", ("yaml-tag", 1, 6)),
        ("run: !shell [a]\n", ("yaml-tag", 1, 6)),
        ("run: *.txt\n", ("not-yaml", 1, 7)),
        ("run: *txt\n", ("unknown-alias", 1, 6)),
        ("a: &x [*x]\n", ("recursive-alias", 1, 8)),
        ("? [a]\n: 1\n", ("wrong-type", 1, 3)),
        ("a: 1\n<<: 5\n", ("wrong-type", 2, 5)),
        ("a: [1, 2\n", ("not-yaml", 2, 1)),
        ("a:\n\tb: 1\n", ("not-yaml", 2, 1)),
        ("[" * 100_000, ("too-deep", 1, 65)),
        ("- " * 100_000, ("too-deep", 1, 129)),
        ("{a: " * 100_000, ("too-deep", 1, 257)),
        (b"#" * (MAX_BYTES + 1), ("too-large", 1, 1)),
    ],
)
def test_a_broken_file_is_reported_at_its_place(content: str | bytes, found: tuple[str, int, int]) -> None:
    assert found in read(content)[1]


def test_a_hundred_megabytes_are_refused() -> None:
    assert read(b"a" * 100_000_000)[1] == [("too-large", 1, 1)]


def test_aliases_that_multiply_are_refused() -> None:
    node, found = read(LAUGHS)
    assert node is None
    assert [code for code, _, _ in found] == ["too-many-aliases"]


def test_aliases_that_nest_are_refused() -> None:
    text = "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [*a{n}]\n" for n in range(200))
    assert read(text)[1] == [("too-deep", 64, 12)]


def test_an_alias_shares_the_node_of_its_anchor() -> None:
    node, found = read("a: &x {k: v}\nb: *x\n")
    assert found == []
    assert entry(node, "a") is entry(node, "b")


def test_a_merge_key_adds_what_is_not_there() -> None:
    node, found = read("a: &x {k: v, l: w}\nb:\n  <<: *x\n  k: mine\n")
    assert found == []
    assert resolve_value(entry(node, "b")) == {"k": "mine", "l": "w"}


def test_a_merge_key_takes_a_list_and_the_first_wins() -> None:
    node, found = read("a: &x {k: 1}\nb: &y {k: 2, l: 3}\nc: {<<: [*x, *y]}\n")
    assert found == []
    assert resolve_value(entry(node, "c")) == {"k": 1, "l": 3}


def test_a_quoted_merge_key_is_a_key() -> None:
    assert resolve_value(read('"<<": 1\n')[0] or ListNode([], 1, 1)) == {"<<": 1}


def test_a_byte_order_mark_moves_no_column() -> None:
    assert places(read(b"\xef\xbb\xbfa: b\n")[0]) == [("a", 1, 1), ("b", 1, 4)]


def test_windows_line_ends_move_no_line() -> None:
    assert places(read("a: b\r\nc: d\r\n")[0]) == [("a", 1, 1), ("b", 1, 4), ("c", 2, 1), ("d", 2, 4)]


def test_columns_count_characters() -> None:
    assert places(read("{é: ü, 日: 本}\n")[0])[2:] == [("日", 1, 8), ("本", 1, 11)]


@pytest.mark.parametrize("word", ["no", "on", "1.20", "12:30", "0x10", "2001-01-01", "~", "null", "true"])
def test_the_reader_decides_no_types(word: str) -> None:
    assert places(read(f"a: {word}\n")[0])[1] == (word, 1, 4)


@pytest.mark.parametrize(
    "text",
    [
        'run: "a" && b\n',
        "run: echo a: b\n",
        "run: @x\n",
        "run: %x\n",
        "run: [ -f x ] && y\n",
        "- run: `ls`\n",
    ],
)
def test_shell_text_that_is_no_yaml_gets_the_hint_of_a_block(text: str) -> None:
    findings = Findings("a.yaml")
    assert read_yaml(text, findings) is None
    assert [("not-yaml", "`run: |`" in found.hint) for found in findings.sorted()] == [("not-yaml", True)]


@pytest.mark.parametrize(
    "text", ["a: [1", "a: &x [*x]", "a: ! b", "a: 1\n---\nb: 2", "a: '\n", "[" * 200, LAUGHS]
)
def test_the_pure_loader_finds_the_same(text: str) -> None:
    fast, pure = Findings("a.yaml"), Findings("a.yaml")
    read_yaml(text, fast)
    read_yaml(text, pure, loader=yaml.SafeLoader)
    assert [found.code for found in fast.sorted()] == [found.code for found in pure.sorted()] != []


@pytest.mark.parametrize(
    "content,found",
    [
        ('{"a" 1}', ("not-json", 1, 6)),
        ("a: 1", ("not-json", 1, 1)),
        ('{\n"a": tru}', ("not-json", 2, 6)),
        ('{"a": NaN}', ("not-json", 1, 1)),
        ('{"a": 1,\n "a": 2}', ("duplicate-key", 2, 2)),
        ('{"a": "\\ud800"}', ("not-json", 1, 7)),
        ("[" * 100_000, ("too-deep", 1, 65)),
        ("[" * 100 + "]" * 100, ("too-deep", 1, 65)),
        ("null", ("empty-file", 1, 1)),
        ("", ("empty-file", 1, 1)),
    ],
)
def test_broken_json_is_reported_at_its_place(content: str, found: tuple[str, int, int]) -> None:
    assert found in read(content, "a.json")[1]


def test_json_may_hold_tabs_and_surrogate_pairs() -> None:
    node, found = read('{\n\t"a":\t"\\ud83d\\ude00",\r\n\t"b": [1, "\\t"]\n}', "a.json")
    assert found == []
    assert places(node) == [("a", 2, 2), ("😀", 2, 7), ("b", 3, 2), ("1", 3, 8), ("\t", 3, 11)]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
def test_json_means_what_it_says(value: object) -> None:
    node, found = read(json.dumps({"value": value}, indent="\t"), "a.json")
    assert found == []
    assert resolve_value(entry(node, "value")) == value


@given(st.text() | st.text(alphabet="{}[]:,&*!|>-?'\"#%@` \nab"))
def test_no_text_makes_the_reader_raise(text: str) -> None:
    findings = Findings("a.yaml")
    assert read_yaml(text, findings) is not None or findings.sorted()
    read_yaml(text, Findings("a.yaml"), loader=yaml.SafeLoader)


@given(st.binary(), st.sampled_from(["a.yaml", "a.json"]))
def test_no_bytes_make_the_reader_raise(content: bytes, path: str) -> None:
    findings = Findings(path)
    assert read_document(content, findings) is not None or findings.sorted()
