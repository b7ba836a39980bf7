"""`dogfood doubt --thorough` on real projects: journeys that end half-way, and guesses by files."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from tests.documentation.test_pages import DOCS, assert_shown_in_order, blocks_of
from tests.support.run_results import inherited

STOCK = """
    capabilities:
      logged-in:
        copyable: true
        probe: test -e "$DOGFOOD_STATE/session"
      stocked:
        copyable: true
        probe: test -d "$DOGFOOD_STATE/stock"
    journeys:
      - id: log-in
        establishes: [logged-in]
        steps:
          - run: touch "$DOGFOOD_STATE/session"
          - run: 'true'
      - id: look
        requires: [logged-in]
        steps: [{run: 'test -e "$DOGFOOD_STATE/session"'}]
      - id: stock
        requires: [logged-in]
        establishes: [stocked]
        steps:
          - run: mkdir "$DOGFOOD_STATE/stock"
          - run: echo tea >"$DOGFOOD_STATE/stock/tea"
      - id: sell
        requires: [stocked]
        steps: [{run: 'grep tea "$DOGFOOD_STATE/stock/tea"'}]
      - id: count
        requires: [stocked]
        steps: [{run: 'ls "$DOGFOOD_STATE/stock"'}]
    """


def doubt(path: Path, states: Path, text: str, *arguments: str) -> tuple[int, str, str]:
    (path / "pytest.ini").write_text(f"[pytest]\ndogfood_state_root = {states}\n", encoding="utf-8")
    (path / "shop.journey.yaml").write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest_dogfood", "doubt", *arguments],
        cwd=path,
        env={**inherited(), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    return done.returncode, done.stdout, done.stderr


def test_a_probe_that_says_yes_half_way_is_found(tmp_path: Path, short_root: Path) -> None:
    status, out, err = doubt(tmp_path, short_root, STOCK, "--thorough", "-n", "2")
    assert status == 1, out + err
    assert (
        "shop.journey.yaml:5: the probe of stocked says yes behind step 1 of stock, before its end, although sell, "
        "which requires it, fails there [probe-too-early]" in out
    )
    assert "    hint: let the probe ask for what the last steps of stock leave" in out
    assert "       log-in, then stock up to its step 1, then sell\n" in out
    assert ": 1 finding, 0 unclear, 0 not tested" in out
    # One run tries both users of the token.
    assert "run 3: 4 journeys of 1 chain" in err


def test_the_page_shows_what_is_printed(tmp_path: Path, short_root: Path) -> None:
    blocks = list(blocks_of(DOCS / "howto" / "doubt.md"))
    (text,) = [block.text for block in blocks if block.name == "stock/stock.journey.yaml"]
    (shown,) = [block.text for block in blocks if block.text.startswith("$ dogfood doubt --thorough\n")]
    status, out, err = doubt(tmp_path, short_root, text, "--thorough")
    assert status == 1, out + err
    assert_shown_in_order(shown.partition("\n")[2].replace("stock/stock.", "shop."), out)


def test_it_is_no_finding_if_the_probe_asks_for_what_comes_last(tmp_path: Path, short_root: Path) -> None:
    text = STOCK.replace('test -d "$DOGFOOD_STATE/stock"', 'test -e "$DOGFOOD_STATE/stock/tea"')
    status, out, err = doubt(tmp_path, short_root, text, "--thorough")
    assert status == 0, out + err
    assert ": 0 findings, 0 unclear, 0 not tested" in out


def test_who_wrote_the_file_that_a_failure_names_is_found_without_halving(
    tmp_path: Path, short_root: Path
) -> None:
    others = "".join(
        f"""
      - id: other-{number}
        requires: [logged-in]
        steps: [{{run: 'echo >"$DOGFOOD_STATE/{number}"'}}]"""
        for number in range(8)
    )
    text = f"""
    capabilities:
      logged-in: {{probe: 'test -e "$DOGFOOD_STATE/session"'}}
    journeys:
      - id: log-in
        establishes: [logged-in]
        steps: [{{run: 'touch "$DOGFOOD_STATE/session"'}}]
      - id: fill
        requires: [logged-in]
        steps: [{{run: 'mkdir "$DOGFOOD_STATE/orders"; echo tea >"$DOGFOOD_STATE/orders/cart"'}}]{others}
      - id: pay
        requires: [logged-in]
        steps: [{{run: 'grep tea "$DOGFOOD_STATE/orders/cart"'}}]
    """
    status, out, err = doubt(tmp_path, short_root, text)
    assert status == 1, out + err
    assert "pay needs what fill leaves, and does not require it [undeclared-requires]" in out
    # Two runs, in which it fails alone and passes behind the guess; then the proof, the pause and the line.
    runs = [line.partition(": ")[2] for line in err.splitlines() if line.startswith("run ")]
    first = runs.index("2 journeys of 1 chain")
    assert runs[first : first + 10] == [
        "2 journeys of 1 chain",
        "3 journeys of 1 chain",
        *["2 journeys of 1 chain", "3 journeys of 1 chain"] * 3,
        "3 journeys of 1 chain",
        "2 journeys of 1 chain",
    ]


def test_with_a_budget_a_suspect_is_settled_before_anything_else_is_tried(
    tmp_path: Path, short_root: Path
) -> None:
    text = """
    capabilities:
      opened: {probe: 'test -e "$DOGFOOD_STATE/o"', provision: ['touch "$DOGFOOD_STATE/o"']}
    journeys:
      - {id: log-in, establishes: [logged-in], steps: [{run: 'touch "$DOGFOOD_STATE/session"'}]}
      - {id: fill, requires: [logged-in], steps: [{run: 'touch "$DOGFOOD_STATE/cart"'}]}
      - {id: pay, requires: [logged-in], steps: [{run: 'rm "$DOGFOOD_STATE/cart"'}]}
      - {id: open, establishes: [opened], steps: [{run: 'touch "$DOGFOOD_STATE/o"'}]}
      - {id: one, requires: [opened], steps: ['true']}
      - {id: two, requires: [opened], steps: ['true']}
    """
    status, out, err = doubt(tmp_path, short_root, text, "--budget", "1h")
    assert status == 1, out + err
    runs = [line.partition(": ")[2] for line in err.splitlines() if line.startswith("run ")]
    # The provider of the other chain is tried beside the order in which `pay` fails, its own orders after the finding.
    assert runs[:2] == ["ordinary", "5 journeys of 2 chains"]
    assert {run.rpartition(" of ")[2] for run in runs[2:]} == {"1 chain"}
