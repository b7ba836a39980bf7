from __future__ import annotations

import pytest
from msgspec.structs import replace

from pytest_dogfood.execution.runner import StepResult, StepsResult, failure_text, run_steps
from pytest_dogfood.journey import Expectation, Save, Script, Step, StreamExpectation, Until
from tests.support.fakes import FakeRunner, FakeSeen
from tests.support.strategies import ANYWHERE

STEP = Step(location=ANYWHERE, run="true")
SAVING = replace(STEP, save=(Save(name="id", pattern="(.*)"),))


def good(stdout: str = "") -> FakeSeen:
    return FakeSeen(stdout=stdout)


def bad(stdout: str = "", stderr: str = "") -> FakeSeen:
    return FakeSeen(status=1, stdout=stdout, stderr=stderr)


def test_no_steps_are_no_failure() -> None:
    assert run_steps([], FakeRunner([])).failure is None


def test_steps_run_in_order_and_are_counted() -> None:
    done = run_steps([STEP, STEP, STEP], FakeRunner([good(), good(), good()]))
    assert [(one.number, one.total) for one in done.results] == [(1, 3), (2, 3), (3, 3)]
    assert done.failure is None


def test_each_step_is_told_and_what_is_done_then_is_no_time_of_the_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr("time.monotonic", lambda: float(next(clock)))
    told: list[int] = []

    def ended(result: StepResult) -> None:
        told.append(result.number)
        for _ in range(100):
            next(clock)

    runner = FakeRunner([good(), good(), bad(), good()])
    run_steps([STEP] * 4, runner, timeout=50, done=StepsResult(ended=ended))
    assert told == [1, 2, 3]
    assert all(limit is not None and limit > 0 for _, _, limit in runner.asked)


def test_nothing_runs_after_a_step_that_failed() -> None:
    runner = FakeRunner([good(), bad()])
    done = run_steps([STEP, STEP, STEP], runner)
    assert len(runner.asked) == 2
    assert done.failure is done.results[-1]
    assert done.failure.number == 2


def test_clean_up_runs_every_step_and_names_the_first_failure() -> None:
    runner = FakeRunner([bad(), bad(), good()])
    done = run_steps([STEP, STEP, STEP], runner, keep_going=True)
    assert len(runner.asked) == 3
    assert done.failure is not None
    assert done.failure.number == 1


def test_saved_values_are_variables_of_the_later_steps() -> None:
    runner = FakeRunner([good(stdout="42"), good()])
    done = run_steps([SAVING, STEP], runner)
    assert [variables for _, variables, _ in runner.asked] == [{}, {"id": "42"}]
    assert done.values == {"id": "42"}


def test_a_step_that_fails_keeps_what_it_saved_for_the_clean_up() -> None:
    assert run_steps([SAVING], FakeRunner([FakeSeen(status=1, stdout="42")])).values == {"id": "42"}


def test_a_value_that_cannot_be_saved_fails_the_step() -> None:
    saving = replace(STEP, save=(Save(name="id", pattern="id=(.*)"),))
    done = run_steps([saving, STEP], FakeRunner([good(stdout="nothing")]))
    assert done.failure is not None
    assert done.values == {}


def test_a_secret_is_named_and_told_to_the_observation_that_showed_it() -> None:
    saving = replace(STEP, save=(Save(name="key", pattern="(.*)", secret=True),))
    seen = good(stdout="abc")
    done = run_steps([saving], FakeRunner([seen]))
    assert done.secret == ["key"]
    assert seen.learnt == ["abc"]


def test_a_failed_step_still_tells_the_observation_its_secrets() -> None:
    saving = replace(STEP, save=(Save(name="key", pattern="key=(.*)", secret=True),))
    seen = bad(stdout="key=abc")
    done = run_steps([saving], FakeRunner([seen]))
    assert done.failure is not None
    assert seen.learnt == ["abc"]
    assert done.failure.withheld == frozenset()


def test_an_output_in_which_a_secret_was_not_found_is_shown_nowhere() -> None:
    saving = replace(
        STEP,
        save=(Save(name="key", pattern="key=(.*)", secret=True),),
        expect=Expectation(stdout=StreamExpectation(contains=("welcome",))),
    )
    runner = FakeRunner([bad(stdout="the key is: abc", stderr="no route")])
    text = failure_text(run_steps([saving], runner), runner)
    assert "abc" not in text
    assert "*** (hidden, because it may hold a secret that this step saves)" in text
    assert "no route" in text


def test_a_step_with_until_is_repeated_until_it_succeeds() -> None:
    patient = replace(STEP, until=Until(timeout=60, interval=0))
    observations = [bad(), bad(), good()]
    done = run_steps([patient], FakeRunner(observations))
    assert done.failure is None
    assert done.results[0].tries == 3
    assert all(seen.finished for seen in observations)


def test_a_step_with_until_gives_up_when_its_time_is_over() -> None:
    hasty = replace(STEP, until=Until(timeout=0, interval=0))
    done = run_steps([hasty], FakeRunner([bad()]))
    assert done.failure is not None
    assert done.results[0].tries == 1


def test_a_last_try_that_is_cut_short_does_not_hide_what_the_one_before_has_shown() -> None:
    hasty = replace(STEP, until=Until(timeout=0.5, interval=0.3))
    done = run_steps([hasty], FakeRunner([bad(), FakeSeen(timed_out=True)]))
    assert done.failure is not None
    assert [str(one) for one in done.failure.wrong] == ["exit 1, expected 0"]
    assert done.results[0].tries == 2
    assert done.results[0].seconds >= 0.3


def test_tries_are_shown_with_the_seconds_they_took_together() -> None:
    patient = replace(STEP, until=Until(timeout=0.3, interval=0.2))
    runner = FakeRunner([bad(), bad(), bad()])
    text = failure_text(run_steps([patient], runner), runner)
    assert "  tries:    2 in 0.2 s\n" in text
    assert "  took:     0.10 s (this try)" in text
    once = FakeRunner([bad()])
    text = failure_text(run_steps([STEP], once), once)
    assert "tries" not in text
    assert text.endswith("  took:     0.10 s")


def test_a_journey_s_own_limit_bounds_repetition_too() -> None:
    patient = replace(STEP, until=Until(timeout=60, interval=0))
    assert run_steps([patient], FakeRunner([bad()]), timeout=0).failure is not None


def test_without_limits_a_step_has_only_its_own() -> None:
    runner = FakeRunner([good()])
    run_steps([STEP], runner)
    assert runner.asked[0][2] is None


def test_steps_share_the_limit_of_their_journey() -> None:
    runner = FakeRunner([good(), good()])
    run_steps([STEP, STEP], runner, timeout=60)
    first, second = (limit or 0 for _, _, limit in runner.asked)
    assert 0 < second <= first <= 60


NOTE = "note: stdin is empty and there is no terminal"

OUTPUTS_THAT_WANT_INPUT = [
    "sudo: a terminal is required to read the password; either use the -S option to read from standard input",
    "sudo: a password is required\n",
    "sudo: no tty present and no askpass program specified\n",
    "fatal: could not read Username for 'https://github.com': No such device or address\n",
    "fatal: could not read Password for 'https://ada@github.com': terminal prompts disabled\n",
    "Host key verification failed.\nfatal: Could not read from remote repository.\n",
    "ada@host: Permission denied (publickey,password).\n",
    "stty: 'standard input': Inappropriate ioctl for device\n",
    "gpg: problem with the agent: Inappropriate ioctl for device\ngpg: symmetric encryption failed\n",
    "bash: line 1: /dev/tty: No such device or address\n",
    "the input device is not a TTY\n",
    "Error: Cannot perform an interactive login from a non TTY device\n",
    "Vim: Warning: Input is not from a terminal\n",
    "name? Traceback (most recent call last):\nEOFError: EOF when reading a line\n",
    '  File "/usr/lib/python3.11/getpass.py", line 148, in _raw_input\n    raise EOFError\nEOFError\n',
    "psql: error: fe_sendauth: no password supplied\n",
    "enter AES-256-CBC encryption password:\nbad password read\n",
    "Password: ",
    "Enter passphrase for key '/home/ada/.ssh/id': ",
    "login: ",
    "Do you want to continue? [Y/n] ",
    "Continue (yes/no)? ",
    "Proceed [y/N]: ",
    "rm: remove regular file 'a'? ",
    "1) a\n2) b\n#? ",
    "Select a template: ",
]

OUTPUTS_THAT_WANT_NOTHING = [
    "",
    "assertion failed\n",
    "Password: accepted\nerror 3\n",
    "what is this?\n",
    "status: ",
    "50 % [=====>     ]",
    "Pseudo-terminal will not be allocated because stdin is not a terminal.\nexit 3\n",
    "mesg: ttyname failed: Inappropriate ioctl for device\n",
    "bash: cannot set terminal process group (-1): Inappropriate ioctl for device\n",
    "ada@host: Permission denied (publickey).\n",
    "cat: a: Permission denied\n",
    '  File "pickle.py", line 1\nEOFError: Ran out of input\n',
    "a password is wrong\n",
    "/dev/ttyS0 is busy\n",
]

COMMANDS_THAT_READ = [
    "read name",
    "read -r -p 'name? ' name; echo $name",
    "echo hello\nread -r name",
    "echo hello && read name",
    "if read name; then exit 0; fi; exit 1",
    "while read line; do echo; done; false",
    "x=1 || true; read name",
    "ls | wc -l\nread name",
]

COMMANDS_THAT_DO_NOT_READ = [
    "false",
    "echo ada | { read name; false; }",
    "read name < file",
    "read name <<< ada; false",
    "while read -r line; do false; done < file",
    "./read-all; cat read",
    "readlink a",
    "git read-tree HEAD",
    "while read -r line; do\n  false\ndone < file",
    "ls | while read -r line; do\n  read name\ndone",
    "exec < file\nread name",
    "# (read more)\nfalse",
]


def notes(stdout: str = "", stderr: str = "", *, step: Step = STEP, status: int = 1) -> str:
    seen = FakeSeen(status=status, stdout=stdout, stderr=stderr)
    text = failure_text(run_steps([step], FakeRunner([seen])), FakeRunner([]))
    return "".join(line for line in text.splitlines() if line.startswith("note: "))


@pytest.mark.parametrize("output", OUTPUTS_THAT_WANT_INPUT)
def test_an_output_that_shows_that_input_was_wanted_gets_a_note(output: str) -> None:
    assert NOTE in notes(stdout=output)
    assert NOTE in notes(stderr=f"before\n{output}", status=128)


@pytest.mark.parametrize("output", OUTPUTS_THAT_WANT_NOTHING)
def test_another_output_gets_no_note(output: str) -> None:
    assert notes(stdout=output, stderr=output) == ""


@pytest.mark.parametrize("command", COMMANDS_THAT_READ)
def test_a_shell_that_reads_and_fails_gets_a_note(command: str) -> None:
    assert NOTE in notes(step=replace(STEP, run=command))
    assert notes(step=replace(STEP, run=command), status=2) == ""


@pytest.mark.parametrize("command", COMMANDS_THAT_DO_NOT_READ)
def test_a_shell_that_reads_from_elsewhere_gets_no_note(command: str) -> None:
    assert notes(step=replace(STEP, run=command)) == ""


def test_a_script_that_reads_and_fails_gets_a_note() -> None:
    step = replace(STEP, run=Script(path="a.journey.sh", reads=True))
    assert NOTE in notes(step=step)
    assert notes(step=step, status=2) == ""
    assert notes(step=replace(STEP, run=Script(path="a.journey.sh"))) == ""


NO_NEWLINE = "note: `stdin:` does not end with a newline, so the shell's `read` fails on its last line"


@pytest.mark.parametrize(
    "run, cure",
    [
        ("read name", r'write `stdin: "…\n"`, or a block with `stdin: |`'),
        (Script(path="a.journey.sh", reads=True), r'write `# dogfood: stdin: "…\n"`'),
    ],
)
def test_an_input_whose_last_line_does_not_end_gets_a_note_where_the_shell_reads(
    run: str | Script, cure: str
) -> None:
    assert f"{NO_NEWLINE}; {cure}" == notes(step=replace(STEP, run=run, stdin="ada\nbob"))
    assert notes(step=replace(STEP, run=run, stdin="ada\nbob\n")) == ""
    assert notes(step=replace(STEP, run=run, stdin="ada"), status=2) == ""
    assert notes(step=replace(STEP, run="false", stdin="ada")) == ""


def test_where_there_is_input_there_is_no_note_on_it() -> None:
    assert notes("Password: ", step=replace(STEP, run="read name", stdin="")) == ""


def test_an_output_that_may_hold_a_secret_gives_no_note() -> None:
    saving = replace(STEP, save=(Save(name="key", pattern="key=(.*)", secret=True),))
    assert notes("Password: ", step=saving) == ""
