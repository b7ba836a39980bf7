"""pytest's hooks around one item, and the fixtures `capabilities` and `dogfood_state`."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from pytest_dogfood.collection.collector import JourneyFile
from pytest_dogfood.collection.exceptions import (
    OUTCOMES,
    Ending,
    deferral,
    ending_of,
    failure,
    harness_failure,
    has_failed_in_unittest,
    interruption_of,
    raised_at,
    tear_down_to,
)
from pytest_dogfood.collection.selection import Selection
from pytest_dogfood.collection.stash import ENTRANCE, JOURNEY
from pytest_dogfood.diagnostics import HarnessError, NoActor
from pytest_dogfood.execution.interruption import ToDebugger
from pytest_dogfood.journey import VARIABLE_PATTERN, Journey, Token
from pytest_dogfood.outcomes import INTERRUPTED, Cause, Outcome
from pytest_dogfood.provisioning.provisioner import Provisioner
from pytest_dogfood.provisioning.release import ChainRelease
from pytest_dogfood.provisioning.replay import DeferredError, Request
from pytest_dogfood.provisioning.templates import StateTemplates
from pytest_dogfood.scheduling.plan import PlannedJourney
from pytest_dogfood.session.item_run import ItemRun, ProductFailure
from pytest_dogfood.session.signals import at_the_keyboard
from pytest_dogfood.session.test_reports import carry_result, fold_report, late_error, make_report
from pytest_dogfood.walks import deep_recursion


class Capabilities:
    """Values of tokens by name: `capabilities["web-up"]["port"]`. Every value is text."""

    def __init__(self, run: ItemRun) -> None:
        self._run = run

    def __getitem__(self, token: str) -> Mapping[str, str]:
        """Return the values of a token that this test requires; raises KeyError for any other."""
        __tracebackhide__ = True
        if token not in self._run.request.proofs and token not in self._run.established:
            raise KeyError(
                f"{token!r} is not required by this test: mark it with @pytest.mark.requires({token!r}), "
                f"or call capabilities.require({token!r})"
            )
        presence, state = self._run.provisioner.presence, self._run.state
        if presence.record_of(Token(token), state) is None:
            return dict(self._run.used_up.get(Token(token), {}))
        return dict(presence.values_of(Token(token), state))

    def require(self, token: str) -> Mapping[str, str]:
        """Ensure a token whose name is known only now, and return its values.

        Skips the test as deferred if no journey that establishes the token has passed, and reports a harness error
        if nothing can provide it.
        """
        __tracebackhide__ = True
        graph = self._run.provisioner.presence.graph
        with PytestTerms(self._run):
            if not graph.is_known(Token(token)):
                raise HarnessError(f"{token!r} is unknown: nothing establishes, provides or defines it")
            with deep_recursion(len(graph.journeys)):
                self._run.provisioner.acquire_at_run_time(Token(token), self._run.request)
        return self[token]

    def save(self, **values: object) -> None:
        """Save values, as text, with the tokens that this test establishes; raises ValueError for bad names."""
        __tracebackhide__ = True
        for name, value in values.items():
            if not VARIABLE_PATTERN.fullmatch(name):
                raise ValueError(f"{name!r} cannot be the name of a variable")
            text = str(value)
            try:
                text.encode()
            except UnicodeError:
                raise ValueError(f"{name}={text!r} is not valid UTF-8: decode it differently") from None
            if "\0" in text:
                raise ValueError(f"{name}={text!r} contains a NUL, which a variable cannot contain")
            self._run.values[name] = text
        self._run.note_saved()


class PytestTerms:
    """Turns this plugin's exceptions into pytest's, without frames of this package.

    Not by `contextlib`: pytest would name that as the place of a skip. During `set_up`, the exception also becomes the
    reason why the item must not be called.
    """

    def __init__(self, run: ItemRun, *, set_up: bool = False) -> None:
        self._run = run
        self._set_up = set_up

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, traceback: object) -> None:
        __tracebackhide__ = True
        instead: BaseException | None = None
        if isinstance(error, DeferredError):
            instead = deferral(error.cause, error.token)
        elif isinstance(error, NoActor):
            self._run.outcome = Outcome.NO_ACTOR
            instead = pytest.skip.Exception(str(error))
        elif isinstance(error, ProductFailure):
            instead = failure(str(error), Ending(reason=error.reason))
        elif isinstance(error, ToDebugger):
            instead = interruption_of(str(error))
        elif isinstance(error, HarnessError):
            instead = harness_failure(error, self._run.with_what_next(str(error)))
        if self._set_up and isinstance(instead or error, (Exception, *OUTCOMES)):
            self._run.refusal = instead or error
        if instead is not None:
            raise instead from None


@contextmanager
def harness_errors_in(problems: list[str]) -> Iterator[None]:
    """Add a harness error to the problems, and go on."""
    try:
        yield
    except HarnessError as error:
        problems.append(f"harness: {error}")


ITEM_RUN = pytest.StashKey[ItemRun]()
LAST_REPORT = pytest.StashKey[pytest.TestReport]()
PRESENCE_FIXTURE = "dogfood_presence"


class ItemHooks:
    """The plugin that runs the graph's items in this process."""

    def __init__(self, selection: Selection, provisioner: Provisioner, release: ChainRelease) -> None:
        self._planned = selection.plan.by_nodeid()
        self._provisioner = provisioner
        self._templates = StateTemplates(selection.plan, provisioner)
        self._release = release
        self._providing = {fixture: token for token, fixture in selection.graph.fixtures.items()}
        for item in selection.items:
            names = getattr(item, "fixturenames", None)
            if item.nodeid in self._planned and names is not None and PRESENCE_FIXTURE not in names:
                names.insert(0, PRESENCE_FIXTURE)  # before every other fixture

    def _new_run(
        self, item: pytest.Item, journey: Journey, planned: PlannedJourney, attempt: str = "", number: int = 0
    ) -> ItemRun:
        presence = self._provisioner.presence
        state = self._templates.state_for(planned, again=number > 1)
        item.stash[ITEM_RUN] = ItemRun(
            journey=journey,
            planned=planned,
            provisioner=self._provisioner,
            templates=self._templates,
            state=state,
            number=number,
            request=Request(journey=journey.id, state=state),
            locks=presence.workspace.named_locks(),
            attempt=attempt or presence.workspace.attempt_at(journey.id),
            debugs=bool(item.config.getoption("usepdb", False)),
        )
        return item.stash[ITEM_RUN]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        interruption = self._provisioner.presence.workspace.interruption
        planned, journey = self._planned.get(item.nodeid), item.stash.get(JOURNEY, None)
        if planned is None or journey is None or interruption.signalled:
            return (yield)
        self._new_run(item, journey, planned).begin()
        try:
            result = yield
        except BaseException as error:
            if not interruption.abandoned:
                self._close(item, error)
            raise
        problems: list[str] = []
        self._end(item.stash[ITEM_RUN], problems)
        for problem in filter(None, problems):
            report = late_error(item.nodeid, problem, item.stash.get(LAST_REPORT, None))
            item.ihook.pytest_runtest_logreport(report=report)
        return result

    def _end(self, run: ItemRun, problems: list[str]) -> None:
        """Release what only this item kept alive, after its last rerun, and record its outcome."""
        run.retract_result()
        with harness_errors_in(problems):
            problems.append(self._release.finished(run.planned, run.state))
        with harness_errors_in(problems):
            run.end()
            self._templates.end(run.planned, run.state, keeps=run.keeps_directories, named=run.request.kept)

    def _close(self, item: pytest.Item, error: BaseException) -> None:
        """Clean up after an item that pytest drops without a tear-down, as after `q` in its debugger, and report it."""
        run = item.stash[ITEM_RUN]
        problems: list[str] = []
        if run.outcome is Outcome.PASSED:
            run.outcome, run.cause = Outcome.ERROR, Cause(who=run.journey.id, why=INTERRUPTED)
            problems.append(f"interrupted: {type(error).__name__}: {error}")
        with harness_errors_in(problems):
            problems.append(run.clean_up())
        ending = (pytest.exit.Exception, KeyboardInterrupt)
        call = pytest.CallInfo.from_call(
            lambda: tear_down_to(item.session, None), when="teardown", reraise=ending
        )
        if call.excinfo is not None:
            problems.append(f"a fixture could not be torn down: {call.excinfo.exconly()}")
        with harness_errors_in(problems):
            run.leave()
        self._end(run, problems)
        run.texts += filter(None, problems)
        run.record()
        report = make_report(item.nodeid, item.location, "\n".join(filter(None, problems)))
        carry_result(report, run.planned, run.result())
        item.ihook.pytest_runtest_logreport(report=report)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        __tracebackhide__ = True
        begun = item.stash.get(ITEM_RUN, None)
        if begun is None:
            return (yield)
        # A rerun starts afresh. The name chosen when the item began is for the first attempt.
        attempt = begun.attempt if begun.workdir is None else ""
        run = self._new_run(item, begun.journey, begun.planned, attempt, begun.number + 1)
        run.not_begun = begun.not_begun
        # The processes that an earlier try left are still running.
        run.request.leaked += [*begun.request.leaked, *begun.leaked]
        result = yield
        if not hasattr(item, "fixturenames"):
            with PytestTerms(run, set_up=True):
                run.prepare(None)
        with PytestTerms(run, set_up=True):
            run.complete()
        run.refusal = None
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, object, object]:  # noqa: ANN401 - pytest exports no such type before 8.4
        """Count fixtures of the project: each may undo what was just provisioned. Cached ones do not come here."""
        __tracebackhide__ = True
        result = yield
        module = getattr(fixturedef.func, "__module__", None) or ""
        if not module.startswith(("_pytest.", "pytest_dogfood.")) or "unit_" in fixturedef.argname:
            self._provisioner.presence.workspace.changes.note_fixture(fixturedef.argname)
        return result

    def pytest_sessionfinish(self) -> None:
        """Close the actor's process; nothing asks it any more."""
        actors = self._provisioner.presence.workspace.actors
        if actors is not None and actors.process is not None:
            actors.process.close()

    @pytest.fixture
    def dogfood_presence(self, request: pytest.FixtureRequest) -> None:
        """Ensure that what the item requires is present."""
        run = request.node.stash[ITEM_RUN]
        with PytestTerms(run, set_up=True):
            run.prepare(request.getfixturevalue)

    @pytest.fixture
    def dogfood_state(self, request: pytest.FixtureRequest) -> Path:
        """Directory that the journeys of this test's chain share: a pathlib.Path.

        A fixture of a wider scope than function cannot use it.
        """
        return _run_of(request, "dogfood_state").state.path

    @pytest.fixture
    def capabilities(self, request: pytest.FixtureRequest) -> Capabilities:
        """Values of the tokens this test requires; see `save` and `require`.

        A fixture of a wider scope than function cannot use it.
        """
        return Capabilities(_run_of(request, "capabilities"))

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        if not isinstance(pyfuncitem.parent, JourneyFile):
            return None
        run, config = pyfuncitem.stash[ITEM_RUN], pyfuncitem.config
        entrance = config.stash.get(ENTRANCE, None)
        with PytestTerms(run):
            run.run_steps(verbose=config.get_verbosity() > 0, entrance=entrance)
            if entrance is not None:
                with at_the_keyboard(config, self._provisioner.presence.workspace.interruption):
                    run.enter(entrance)
                pytest.skip(f"a shell was opened {entrance.where}")
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        run = item.stash.get(ITEM_RUN, None)
        if run is None:
            return (yield)
        if run.refusal is not None:
            raise run.refusal  # another plugin calls the item although its set-up failed
        run.calling = True
        try:
            result = yield
        finally:
            run.calling = False
            # Some plugins set an item up again without a new protocol: its own call may have destroyed its tokens.
            self._provisioner.presence.workspace.changes.note(f"{run.journey.id} ran")
        if run.journey.establishes and run.worst_subtest.establishes and not has_failed_in_unittest(item):
            with PytestTerms(run):
                run.establish()
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        __tracebackhide__ = True
        run = item.stash.get(ITEM_RUN, None)
        if run is None:
            return (yield)
        problems: list[str] = []
        with harness_errors_in(problems):
            problems.append(run.clean_up())
        text = "\n".join(filter(None, problems))
        if text:
            text = run.with_what_next(text)
        try:
            result = yield
        except (Exception, *OUTCOMES) as error:
            run.leave()
            if text:
                error.add_note(text)
            raise
        run.leave()
        if text:
            _fail(text)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        run = item.stash.get(ITEM_RUN, None)
        if run is None:
            return report
        fold_report(run, item, call, report)
        if report.failed and report.longrepr is not None:
            run.texts.append(report.longreprtext)
        if report.when == "teardown":
            run.retract_result()  # before a rerun, which starts with the tokens of other journeys
            item.stash[LAST_REPORT] = report
            run.record()
            carry_result(report, run.planned, run.result())
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_exception_interact(
        self, node: pytest.Item | pytest.Collector, call: pytest.CallInfo[object]
    ) -> None:
        """Let debuggers open at the step that failed, in its file, and not in our own frames."""
        run = node.stash.get(ITEM_RUN, None)
        error = call.excinfo.value if call.excinfo is not None else None
        ending = ending_of(error)
        if run is None or error is None or not (ending.reason or ending.by_signal):
            return
        if isinstance(node.parent, JourneyFile) or error is run.refusal:
            place = run.place_of_failure
            call.excinfo = raised_at(
                error,
                node.config.rootpath / place.path,
                place.line or 1,
                node.name,
                workdir=run.workdir,
                state=run.state.path,
            )

    def pytest_fixture_post_finalizer(self, fixturedef: Any) -> None:  # noqa: ANN401 - pytest exports no such type before 8.4
        token = self._providing.get(fixturedef.argname)
        if token is not None:
            self._provisioner.fixture_is_gone(token)


def _run_of(request: pytest.FixtureRequest, fixture: str) -> ItemRun:
    run: ItemRun | None = request.node.stash.get(ITEM_RUN, None)
    if run is None:
        how = f"mark it with requires or establishes, or name `{fixture}` as an argument"
        raise harness_failure(HarnessError(f"{request.node.nodeid} does not belong to the graph: {how}"))
    return run


def _fail(text: str) -> NoReturn:
    # A frame that is not hidden: where all are, pytest adds that they are.
    raise failure(text, Ending(reason=re.sub(r"^\S+:\d+:\d+: ", "", text.partition("\n")[0])))
