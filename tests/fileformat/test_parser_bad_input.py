from __future__ import annotations

import pytest

from pytest_dogfood.diagnostics import Diagnostic
from pytest_dogfood.fileformat.parser import parse_journey_file, parse_settings_file

Found = tuple[str, int, int]


def diagnostics(text: str | bytes, path: str = "a.yaml", stem: str = "a") -> tuple[Diagnostic, ...]:
    content = text.encode() if isinstance(text, str) else text
    return parse_journey_file(content, path=path, stem=stem).diagnostics


def found_in(text: str, stem: str = "a") -> list[Found]:
    return [(each.code, each.location.line, each.location.column) for each in diagnostics(text, stem=stem)]


MISTAKES_IN_A_JOURNEY: list[tuple[str, Found]] = [
    ("require: [a]", ("unknown-key", 2, 1)),
    ("run: ls", ("unknown-key", 2, 1)),
    ("title: x", ("unknown-key", 2, 1)),
    ("tier: slow", ("unknown-word", 2, 7)),
    ("tier: [core]", ("wrong-type", 2, 7)),
    ("leaves: [daemon]", ("wrong-type", 2, 9)),
    ("leaves: server", ("unknown-word", 2, 9)),
    ("leaves: daemon", ("conflicting-keys", 2, 1)),
    ("gating: yes", ("wrong-type", 2, 9)),
    ("gating: 'true'", ("wrong-type", 2, 9)),
    ("gating: True", ("wrong-type", 2, 9)),
    ("rationale:", ("missing-value", 2, 11)),
    ("rationale: ~", ("missing-value", 2, 12)),
    ("rationale: null", ("missing-value", 2, 12)),
    ("rationale: ''", ("missing-value", 2, 12)),
    ("rationale: [x]", ("wrong-type", 2, 12)),
    ('rationale: "a\\0b"', ("nul-byte", 2, 12)),
    ("source: [x]", ("wrong-type", 2, 9)),
    ("id: -a", ("bad-id", 2, 5)),
    ("id: a b", ("bad-id", 2, 5)),
    ("id: a\njourney_id: b", ("conflicting-keys", 3, 1)),
    ("workdir: a\nsandbox: b", ("conflicting-keys", 3, 1)),
    ("locks: a\nlock: b", ("conflicting-keys", 3, 1)),
    ("requires: Db_Ready", ("bad-token", 2, 11)),
    ("requires: [a, db_ready]", ("bad-token", 2, 15)),
    ("establishes: ['a:*']", ("bad-token", 2, 15)),
    ("invalidates: [a-]", ("bad-token", 2, 15)),
    ("requires: ['a:${os}']", ("unknown-placeholder", 2, 12)),
    ("lock: 'gpu-${os}'", ("unknown-placeholder", 2, 7)),
    ("matrix: {os: [a]}\nlocks: ['${os}', 'gpu-${so}']", ("unknown-placeholder", 3, 8)),
    ("seed_files: {'${os}.txt': x}", ("unknown-placeholder", 2, 1)),
    ("matrix: {os: [../a]}\nseed_files: {'${os}.txt': x}", ("bad-path", 3, 1)),
    ("matrix: {os: [a]}\nseed_files: {'${os}': x, a: y}", ("duplicate-key", 3, 1)),
    ("matrix: {os: [a]}\nuse: 'server_${os}'", ("bad-name", 3, 6)),
    ("capabilities: {a: {lock: 'gpu-${os}'}}", ("unknown-placeholder", 2, 26)),
    ("requires: [a]\nestablishes: [a]", ("conflicting-tokens", 2, 1)),
    ("invalidates: [a]\nestablishes: [a]", ("conflicting-tokens", 2, 1)),
    ("seed_files: {/a: x}", ("bad-path", 2, 14)),
    ("seed_files: {a/../b: x}", ("bad-path", 2, 14)),
    ("seed_files: {a/: x}", ("bad-path", 2, 14)),
    ("seed_files: {'': x}", ("missing-value", 2, 14)),
    ('seed_files: {"a\\0": x}', ("nul-byte", 2, 14)),
    ("seed_files: {a: }", ("missing-value", 2, 17)),
    ("seed_files: [{path: a}]", ("missing-key", 2, 14)),
    ("seed_files: [{path: a, content: b}, {path: a, content: c}]", ("duplicate-key", 2, 44)),
    ("seed_files: x", ("wrong-type", 2, 13)),
    ("env: {A: [x]}", ("wrong-type", 2, 10)),
    ("env: {A=B: x}", ("bad-name", 2, 7)),
    ("timeout: soon", ("bad-duration", 2, 10)),
    ("timeout: '60'", ("bad-duration", 2, 10)),
    ("timeout: -1", ("bad-duration", 2, 10)),
    ("timeout: 0", ("bad-duration", 2, 10)),
    ("timeout: 999999h", ("bad-duration", 2, 10)),
    ("timeout: " + "9" * 400, ("bad-duration", 2, 10)),
    ("timeout: [1]", ("wrong-type", 2, 10)),
    ("timeout:", ("missing-value", 2, 9)),
    ("workdir: a/b", ("bad-path", 2, 10)),
    ("workdir: ..", ("bad-path", 2, 10)),
    ("workdir: .", ("bad-path", 2, 10)),
    ("use: [a-b]", ("bad-name", 2, 7)),
    ("marks: [a b]", ("bad-name", 2, 9)),
    ("marks: [_slow]", ("bad-name", 2, 9)),
    ("marks: [{a: 1, b: 2}]", ("wrong-type", 2, 9)),
    ("marks: [[a]]", ("wrong-type", 2, 9)),
    ("matrix: {os: linux}", ("wrong-type", 2, 14)),
    ("matrix: {os: []}", ("empty-matrix", 2, 14)),
    ("matrix: {os: [[x]]}", ("wrong-type", 2, 15)),
    ('matrix: {os: ["a\\nb"]}', ("bad-name", 2, 15)),
    ("matrix: {a-b: [x]}", ("bad-name", 2, 10)),
    ("matrix: {DOGFOOD_X: [x]}", ("bad-name", 2, 10)),
    ("matrix: {os: [a, a]}\nid: x", ("duplicate-id", 3, 5)),
    ("matrix: {os: [a]}\nenv: {os: b}", ("conflicting-keys", 2, 1)),
    ("matrix: {os: [A]}\nrequires: 'x-${os}'", ("bad-token", 3, 11)),
    ("matrix: {os: [a/b]}\nworkdir: 'x-${os}'", ("bad-path", 3, 10)),
    (f"matrix: {{{', '.join(f'v{n}: [1, 2]' for n in range(40))}}}", ("matrix-too-large", 2, 1)),
    ("capabilities: {a: {scope: global}}", ("unknown-word", 2, 27)),
    ("capabilities: {'a:b': {scope: chain}}", ("bad-token", 2, 16)),
    ("capabilities: {a: {requires: a}}", ("conflicting-tokens", 2, 20)),
    ("capabilities: {a: {invalidates: a}}", ("conflicting-tokens", 2, 33)),
    ("capabilities: {a: {invalidates: 'a:b'}}", ("conflicting-tokens", 2, 33)),
    ("capabilities: {a: {requires: [b, c], invalidates: c}}", ("conflicting-tokens", 2, 51)),
    ("capabilities: {a: {requires: [b, c], outlives: b, invalidates: c}}", ("conflicting-tokens", 2, 64)),
    ("capabilities: {a: {lock: x, locks: x}}", ("conflicting-keys", 2, 20)),
    ("capabilities: {a: {lock: {}}}", ("missing-value", 2, 26)),
    ("lock: {gpu: 0}", ("out-of-range", 2, 13)),
    ("lock: {gpu: '2'}", ("wrong-type", 2, 13)),
    ("lock: {gpu: many}", ("wrong-type", 2, 13)),
    ("lock: [{gpu: 2}]", ("wrong-type", 2, 8)),
    ("capabilities: {a: {service: {run: x}}}", ("service-without-probe", 2, 20)),
    ("capabilities: {a: {probe: x, service: {ports: p}}}", ("missing-key", 2, 39)),
    ("capabilities: {a: {probe: x, service: {run: x}, provision: [x]}}", ("conflicting-keys", 2, 30)),
    ("capabilities: {a: {probe: [ -f x ]}}", ("shell-test-as-list", 2, 27)),
    ("capabilities: {a: }", ("missing-value", 2, 19)),
    ("capabilities: {a: {}, a: {}}", ("duplicate-key", 2, 23)),
    ("capabilities: {a: {copyable: yes}}", ("wrong-type", 2, 30)),
    ("capabilities: {a: {copyable: true, scope: machine}}", ("copyable-without-chain-scope", 2, 20)),
    ("capabilities: {a: {copyable: true, scope: fleet}}", ("copyable-without-chain-scope", 2, 20)),
    ("capabilities: {a: {copyable: true, release: [x]}}", ("copyable-with-release", 2, 20)),
    ("capabilities: {a: {probe: x, copyable: true, service: {run: x}}}", ("copyable-with-service", 2, 30)),
    ("capabilities: {a: {inputs: {files: x}}}", ("inputs-without-copyable", 2, 20)),
    ("capabilities: {a: {copyable: false, inputs: {files: x}}}", ("inputs-without-copyable", 2, 37)),
    ("capabilities: {a: {copyable: true, inputs: {}}}", ("missing-value", 2, 44)),
    ("capabilities: {a: {copyable: true, inputs: x}}", ("wrong-type", 2, 44)),
    ("capabilities: {a: {copyable: true, inputs: {file: x}}}", ("unknown-key", 2, 45)),
    ("capabilities: {a: {copyable: true, inputs: {files: []}}}", ("missing-value", 2, 52)),
    ("capabilities: {a: {copyable: true, inputs: {files: [a, /b]}}}", ("bad-path", 2, 56)),
    ("capabilities: {a: {copyable: true, inputs: {files: ../b}}}", ("bad-path", 2, 52)),
    ("capabilities: {a: {copyable: true, inputs: {files: '**/..'}}}", ("bad-path", 2, 52)),
    ("capabilities: {a: {copyable: true, inputs: {files: src/}}}", ("bad-path", 2, 52)),
    ("capabilities: {a: {copyable: true, inputs: {files: $DOGFOOD_ROOT/a}}}", ("bad-path", 2, 52)),
    ("capabilities: {a: {copyable: true, inputs: {files: ~/a}}}", ("bad-path", 2, 52)),
    ("capabilities: {a: {copyable: true, inputs: {env: A=B}}}", ("bad-name", 2, 50)),
    ("capabilities: {a: {copyable: true, inputs: {env: [A, DOGFOOD_STATE]}}}", ("bad-name", 2, 54)),
    ("capabilities: {a: {copyable: true, inputs: {run: ''}}}", ("empty-run", 2, 50)),
    ("defaults: {tiemout: 5}", ("unknown-key", 2, 12)),
    ("defaults: {timeout: x}", ("bad-duration", 2, 21)),
    ("cleanup: ls", ("wrong-type", 2, 10)),
]


@pytest.mark.parametrize("keys,found", MISTAKES_IN_A_JOURNEY)
def test_a_mistake_in_a_journey_is_reported_at_its_place(keys: str, found: Found) -> None:
    assert found_in(f"steps: [ls]\n{keys}\n") == [found]


@pytest.mark.parametrize(
    "expected, hint",
    [
        ('""', 'to expect nothing at all, write {equals: ""}'),
        ("{json: [1, 2]}", 'the expression "@" is the whole value: {"@": [1, 2]}'),
    ],
)
def test_a_whole_output_gets_the_hint_how_to_write_it(expected: str, hint: str) -> None:
    text = f"steps: [{{run: x, expect: {{stdout: {expected}}}}}]"
    (diagnostic,) = diagnostics(text)
    assert diagnostic.hint == hint


MISTAKES_IN_A_STEP: list[tuple[str, Found]] = [
    ("run:", ("empty-run", 2, 8)),
    ("run: ''", ("empty-run", 2, 9)),
    ("run: '# only a comment'", ("empty-run", 2, 9)),
    ("run: |\n     # first\n\n       # second\n", ("empty-run", 2, 9)),
    ("run: x\n   expect: {}", ("checks-nothing", 3, 12)),
    ("run: x\n   expect: {stdout: {}}", ("checks-nothing", 3, 21)),
    ("run: x\n   expect: {stderr: {}}", ("checks-nothing", 3, 21)),
    ("run: x\n   expect: {files: {}}", ("checks-nothing", 3, 20)),
    ("run: x\n   expect: {files: {a: {}}}", ("checks-nothing", 3, 24)),
    ("run: x\n   expect: {files: {a: {contains: []}}}", ("checks-nothing", 3, 35)),
    ("run: x\n   expect: {stdout: {contains: []}}", ("checks-nothing", 3, 32)),
    ("run: x\n   expect: {stdout: {not_contains: []}}", ("checks-nothing", 3, 36)),
    ("run: x\n   expect: {stdout: {matches: []}}", ("checks-nothing", 3, 31)),
    ("run: x\n   expect: {stdout: {json: {}}}", ("checks-nothing", 3, 28)),
    ("run: x\n   expect: {stdout: {matches: '.*'}}", ("checks-nothing", 3, 31)),
    ("run: x\n   expect: {stdout: {matches: ['^[^$]*']}}", ("checks-nothing", 3, 32)),
    ("run: x\n   expect: {stdout: {matches: '(?i)(ok)?x*'}}", ("checks-nothing", 3, 31)),
    ("run: x\n   expect: {stdout: {matches: 'ok|'}}", ("checks-nothing", 3, 31)),
    ("run: x\n   expect: {stdout: {contains: [a, '']}}", ("missing-value", 3, 36)),
    ("run: x\n   expect: {text: stdout contains good}", ("checks-nothing", 3, 19)),
    ("run: x\n   expect: {exit: 0, text: it works}", ("checks-nothing", 3, 28)),
    ("run: x\n   expect: 'stdout: good'", ("checks-nothing", 3, 12)),
    ("run: x\n   expect: good", ("checks-nothing", 3, 12)),
    ("run: x\n   expect: good\n   expect_exit: 1", ("checks-nothing", 3, 12)),
    ("run: x\n   expect_text: good", ("checks-nothing", 3, 4)),
    ("run: x\n   expect_state: good", ("checks-nothing", 3, 4)),
    ("run: x\n   expect_cmd_re: git", ("checks-nothing", 3, 4)),
    ("run: x\n   save: {}", ("checks-nothing", 3, 10)),
    ("run: x\n   until: {}", ("missing-key", 3, 11)),
    ("run: x\n   core: false", ("core-without-actor", 3, 4)),
    ("run: '  '", ("empty-run", 2, 9)),
    ("run: []", ("empty-run", 2, 9)),
    ("run: [ -f x ]", ("shell-test-as-list", 2, 9)),
    ("run: [[ -f x ]]", ("shell-test-as-list", 2, 9)),
    ("run: [a, [b]]", ("wrong-type", 2, 13)),
    ("run: {a: b}", ("wrong-type", 2, 9)),
    ("run: ! grep x", ("yaml-tag", 2, 9)),
    ("core: true", ("empty-step", 2, 4)),
    ("intent: i\n   rnu: x", ("unknown-key", 3, 4)),
    ("run: x\n   expect: [a]", ("wrong-type", 3, 12)),
    ("run: x\n   expect: {exit: bad}", ("wrong-type", 3, 19)),
    ("run: x\n   expect: {exit: '1'}", ("wrong-type", 3, 19)),
    ("run: x\n   expect: {exit: 256}", ("out-of-range", 3, 19)),
    ("run: x\n   expect: {exit: 1}\n   expect_exit: 1", ("conflicting-keys", 4, 4)),
    ("run: x\n   expect: {json: {a: 1}}", ("unknown-key", 3, 13)),
    ("run: x\n   expect: {stdout: [a]}", ("wrong-type", 3, 21)),
    ("run: x\n   expect: {stdout: {contain: a}}", ("unknown-key", 3, 22)),
    ("run: x\n   expect: {stdout: {matches: '('}}", ("bad-regex", 3, 31)),
    ("run: x\n   expect: {stdout: {matches: [a, '[']}}", ("bad-regex", 3, 35)),
    ("run: x\n   expect: {stdout: {matches: 'x{4294967294}'}}", ("bad-regex", 3, 31)),
    ("run: x\n   save: {v: {stdout: '(?:(?:x{1000}){1000}){1000}'}}", ("bad-regex", 3, 23)),
    ("run: x\n   expect: {stdout: {json: {'a[': 1}}}", ("bad-jmespath", 3, 29)),
    ("run: x\n   expect: {stdout: '${a:-b}'}", ("shell-expansion", 3, 21)),
    ("run: x\n   expect: {stdout: {not_contains: [a, '${a%b}']}}", ("shell-expansion", 3, 40)),
    ("run: x\n   expect: {stderr: {equals: '$${a:-b} ${a:?}'}}", ("shell-expansion", 3, 30)),
    ("run: x\n   expect: {files: {'${a:-b}/c': false}}", ("shell-expansion", 3, 21)),
    ("run: x\n   expect: {files: {c: {contains: '${a'':''b}'}}}", ("shell-expansion", 3, 35)),
    ("run: x\n   expect: {stdout: {json: [a]}}", ("wrong-type", 3, 28)),
    ("run: x\n   expect: {files: {a: yes}}", ("wrong-type", 3, 24)),
    ("run: x\n   expect: {files: {a: {exists: false, equals: b}}}", ("conflicting-keys", 3, 25)),
    ("run: x\n   save: {v: 'x'}", ("wrong-type", 3, 14)),
    ("run: x\n   save: {v: {secret: true}}", ("missing-key", 3, 14)),
    ("run: x\n   save: {v: {stdout: a, json: b}}", ("conflicting-keys", 3, 26)),
    ("run: x\n   save: {v: {stdout: a, stream: stderr}}", ("conflicting-keys", 3, 26)),
    ("run: x\n   save: {v: {stdout: (a)(b)}}", ("bad-regex", 3, 23)),
    ("run: x\n   save: {v: {json: '['}}", ("bad-jmespath", 3, 21)),
    ("run: x\n   save: {v-w: {json: a}}", ("bad-name", 3, 11)),
    ("run: x\n   expect: 0", ("wrong-type", 3, 12)),
    ("run: x\n   save: {DOGFOOD_V: {json: a}}", ("bad-name", 3, 11)),
    ("run: x\n   save: {PATH: {json: a}}", ("bad-name", 3, 11)),
    ("run: x\n   save: {HOME: {json: a}}", ("bad-name", 3, 11)),
    ("run: x\n   save: {LD_PRELOAD: {json: a}}", ("bad-name", 3, 11)),
    ("run: x\n   save: {BASH_ENV: {json: a}}", ("bad-name", 3, 11)),
    ("run: x\n   save: {IFS: {json: a}}", ("bad-name", 3, 11)),
    ("run: x\n   save: {PYTHONPATH: {json: a}}", ("bad-name", 3, 11)),
    ("run: x\n   seed_files: {'${os}.txt': x}", ("unknown-placeholder", 2, 4)),
    ("run: x\n   until: {interval: 1}", ("missing-key", 3, 11)),
    ("run: x\n   until: {timeout: 1, interval: 0}", ("bad-duration", 3, 34)),
    ("run: x\n   until: [1]", ("wrong-type", 3, 11)),
    ("run: x\n   core: 1", ("wrong-type", 3, 10)),
    ("run: x\n   expect_cmd_re: '('", ("bad-regex", 3, 19)),
    ("run: x\n   seed_files: {../a: x}", ("bad-path", 3, 17)),
    ("run: x\n   run: y", ("duplicate-key", 3, 4)),
]


@pytest.mark.parametrize("step,found", MISTAKES_IN_A_STEP)
def test_a_mistake_in_a_step_is_reported_at_its_place(step: str, found: Found) -> None:
    assert found_in(f"steps:\n - {step}\n") == [found]


@pytest.mark.parametrize(
    "text, found",
    [
        ("steps:\n - {intent: i, until: 3s, stdin: x}\n", [("no-command", 2, 16), ("no-command", 2, 27)]),
        ("steps: [ls]\ncleanup:\n - intent: i\n", [("no-command", 3, 4)]),
        ("steps: [{intent: i}]\ncleanup: [{run: x, core: false}]\n", [("core-without-actor", 2, 20)]),
        ("steps: [ls]\ncapabilities: {a: {probe: {run: x, core: false}}}\n", [("core-without-actor", 2, 36)]),
        ("steps: [ls]\ncapabilities: {a: {probe: '# later'}}\n", [("empty-run", 2, 27)]),
        ("steps: ['# later', ls]\n", [("empty-run", 1, 9)]),
        ("steps: [ls]\ncapabilities: {a: {probe: {intent: i}}}\n", [("no-command", 2, 27)]),
        ("steps: [ls]\ncapabilities: {a: {provision: [{intent: i}]}}\n", [("no-command", 2, 32)]),
        ("steps: [ls]\ncapabilities: {a: {probe: ls, release: [{intent: i}]}}\n", [("no-command", 2, 41)]),
    ],
)
def test_only_steps_of_journeys_may_go_without_a_command(text: str, found: list[Found]) -> None:
    assert found_in(text) == found


MISTAKES_IN_A_FILE: list[tuple[str, Found]] = [
    ("- a\n", ("wrong-type", 1, 1)),
    ("hello\n", ("wrong-type", 1, 1)),
    ("", ("empty-file", 1, 1)),
    ("feature: x\n", ("no-journeys", 1, 1)),
    ("capabilities: {a: {probe: x}}\n", ("no-journeys", 1, 1)),
    ("journeys: []\n", ("no-journeys", 1, 11)),
    ("journeys:\n", ("no-journeys", 1, 10)),
    ("journeys: x\n", ("wrong-type", 1, 11)),
    ("journeys: [x]\n", ("wrong-type", 1, 12)),
    ("journeys:\n- steps: [ls]\n", ("missing-key", 2, 3)),
    ("journeys:\n- id: a\n", ("no-steps", 2, 3)),
    ("journeys:\n- id: a\n  steps: []\n", ("no-steps", 3, 10)),
    ("journeys:\n- id: a\n  steps:\n", ("no-steps", 3, 9)),
    ("journeys:\n- {id: a, steps: [ls]}\n- {id: a, steps: [ls]}\n", ("duplicate-id", 3, 8)),
    ("journeys:\n- {id: a, steps: [ls]}\nsteps: [ls]\n", ("conflicting-keys", 3, 1)),
    ("journeys:\n- {id: a, steps: [ls]}\nenv: {A: b}\n", ("unknown-key", 3, 1)),
    ("journeys:\n- {id: a, steps: [ls], feature: x}\n", ("unknown-key", 2, 24)),
    ("journeys:\n- {id: a, steps: [~]}\n", ("missing-value", 2, 19)),
    ("rationale: x\n", ("no-steps", 1, 1)),
    ("version: 1\nsteps: [ls]\n", ("unknown-key", 1, 1)),
]


@pytest.mark.parametrize("text,found", MISTAKES_IN_A_FILE)
def test_a_mistake_in_a_file_is_reported_at_its_place(text: str, found: Found) -> None:
    assert found_in(text) == [found]


def test_a_file_name_that_is_no_id_asks_for_an_id() -> None:
    assert found_in("steps: [ls]", stem="my journey") == [("bad-id", 1, 1)]


MISTAKES_IN_THE_SETTINGS: list[tuple[str, Found]] = [
    ("journeys: []", ("unknown-key", 1, 1)),
    ("timeout: 5", ("unknown-key", 1, 1)),
    ("hub: {ip: x}", ("missing-key", 1, 6)),
    ("hub: shop", ("wrong-type", 1, 6)),
    ("[a]", ("wrong-type", 1, 1)),
    ("a: [", ("not-yaml", 1, 5)),
]


@pytest.mark.parametrize("text,found", MISTAKES_IN_THE_SETTINGS)
def test_a_mistake_in_the_settings_is_reported_at_its_place(text: str, found: Found) -> None:
    parsed = parse_settings_file(text.encode(), path="dogfood.yaml")
    places = [(each.code, each.location.line, each.location.column) for each in parsed.diagnostics]
    assert found in places
