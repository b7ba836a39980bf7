"""pytest's hooks around one item, and the fixtures `capabilities` and `dogfood_state`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pytest

from pytest_dogfood.actors.loop import NoActor
from pytest_dogfood.collection.collector import JourneyFile
from pytest_dogfood.collection.exceptions import (
    OUTCOMES,
    deferral,
    harness_failure,
    has_failed_in_unittest,
    tear_down_to,
)
from pytest_dogfood.collection.stash import JOURNEY
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.journey import VARIABLE_PATTERN, Token
from pytest_dogfood.outcomes import INTERRUPTED, Cause, Outcome
from pytest_dogfood.provisioning.provisioner import Provisioner
from pytest_dogfood.provisioning.release import ChainRelease
from pytest_dogfood.provisioning.replay import DeferredError, FixtureValue, Request
from pytest_dogfood.scheduling.plan import Plan
from pytest_dogfood.session.item_run import ItemRun, ProductFailure
from pytest_dogfood.session.test_reports import closing_report, fold_report, late_error, properties_of
from pytest_dogfood.walks import room_for

Guard = Callable[[Callable[[], None]], None]


class Capabilities:
    """Values of tokens by name: `capabilities["web-up"]["port"]`. Every value is text."""

    def __init__(self, run: ItemRun, guarded: Guard) -> None:
        self._turn = run
        self._guarded = guarded

    def __getitem__(self, token: str) -> Mapping[str, str]:
        """Return the values of a token that this test requires; raises KeyError for any other."""
        if token not in self._turn.request.proofs and token not in self._turn.established:
            raise KeyError(
                f"{token!r} is not required by this test: mark it with @pytest.mark.requires({token!r}), "
                f"or call capabilities.require({token!r})"
            )
        return dict(self._turn.provisioner.presence.values_of(Token(token), self._turn.state))

    def require(self, token: str) -> Mapping[str, str]:
        """Ensure a token that is known only now, and give its values.

        Skips the test as deferred if what establishes the token did not pass, and reports an error of the harness
        if there is no way to have it.
        """
        self._guarded(lambda: self._ensure(Token(token)))
        return self[token]

    def _ensure(self, token: Token) -> None:
        graph = self._turn.provisioner.presence.graph
        if not graph.is_known(token):
            raise HarnessError(f"{token!r} is unknown: no journey establishes it and no file defines it")
        with room_for(len(graph.journeys)):
            self._turn.provisioner.acquire_at_run_time(token, self._turn.request)

    def save(self, **values: object) -> None:
        """Keep values, as text, that travel with the tokens this test establishes; raises ValueError for bad names."""
        for name, value in values.items():
            if not VARIABLE_PATTERN.fullmatch(name):
                raise ValueError(f"{name!r} cannot be the name of a variable")
            self._turn.values[name] = _as_text(name, value)
        self._turn.note_saved()


def _as_text(name: str, value: object) -> str:
    text = str(value)
    try:
        text.encode()
    except UnicodeError:
        raise ValueError(f"{name}={text!r} holds what UTF-8 cannot: decode it in another way") from None
    if "\0" in text:
        raise ValueError(f"{name}={text!r} holds a NUL, which no variable can")
    return text


T = TypeVar("T")
ITEM_RUN = pytest.StashKey[ItemRun]()
LAST_REPORT = pytest.StashKey[pytest.TestReport]()
PRESENCE_FIXTURE = "dogfood_presence"


class ItemHooks:
    """The plugin that runs the graph's items in this process."""

    def __init__(self, plan: Plan, provisioner: Provisioner, release: ChainRelease) -> None:
        self._planned = plan.by_nodeid()
        self._provisioner = provisioner
        self._release = release
        self._providing = {fixture: token for token, fixture in provisioner.presence.graph.fixtures.items()}

    def announce(self, items: list[pytest.Item]) -> None:
        """Let the fixture that ensures presence come before every other fixture of the graph's items."""
        for item in items:
            names = getattr(item, "fixturenames", None)
            if item.nodeid in self._planned and names is not None and PRESENCE_FIXTURE not in names:
                names.insert(0, PRESENCE_FIXTURE)

    def _new_turn(self, item: pytest.Item) -> ItemRun | None:
        planned = self._planned.get(item.nodeid)
        journey = item.stash.get(JOURNEY, None)
        if planned is None or journey is None:
            return None
        presence = self._provisioner.presence
        state = presence.workspace.state_of(presence.graph, journey)
        run = ItemRun(
            journey=journey,
            planned=planned,
            provisioner=self._provisioner,
            state=state,
            request=Request(journey=journey.id, state=state),
        )
        item.stash[ITEM_RUN] = run
        return run

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        interruption = self._provisioner.presence.workspace.interruption
        run = None if interruption.begun else self._new_turn(item)
        if run is None:
            return (yield)
        run.begin()
        try:
            result = yield
        except BaseException as error:
            if not interruption.abandoned:
                self._close(item, error)
            raise
        self._report_late(item, self._released(item))
        self._report_late(item, _told(item.stash[ITEM_RUN].end))
        return result

    def _released(self, item: pytest.Item) -> str:
        """Release what only this item has kept alive, after its last rerun; return what went wrong, or nothing."""
        run = item.stash[ITEM_RUN]
        run.retract_result()
        return _told(lambda: self._release.finished(run.planned, run.state))

    def _report_late(self, item: pytest.Item, problem: str) -> None:
        if problem:
            report = late_error(item.nodeid, problem, item.stash.get(LAST_REPORT, None))
            item.ihook.pytest_runtest_logreport(report=report)

    def _close(self, item: pytest.Item, error: BaseException) -> None:
        """Clean up after an item that pytest drops without a tear-down, as after `q` in its debugger, and report it."""
        run = item.stash[ITEM_RUN]
        said = ""
        if run.outcome is Outcome.PASSED:
            run.outcome, run.cause = Outcome.ERROR, Cause(who=run.journey.id, why=INTERRUPTED)
            said = f"interrupted: {type(error).__name__}: {error}"
        problems = [
            said,
            _told(run.clean_up),
            _torn_down(item.session),
            _told(run.leave),
            self._released(item),
            _told(run.end),
        ]
        result = run.result()
        report = closing_report(item, "\n".join(filter(None, problems)), result)
        report.user_properties = properties_of(run.planned, result)
        item.ihook.pytest_runtest_logreport(report=report)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, object, object]:
        __tracebackhide__ = True
        if item.stash.get(ITEM_RUN, None) is None:
            return (yield)
        begun = item.stash[ITEM_RUN]
        run = self._new_turn(item)  # a rerun starts afresh
        if run is not None:
            run.not_begun = begun.not_begun
        result = yield
        if run is not None:
            _end_set_up(run, has_fixtures=hasattr(item, "fixturenames"))
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, object, object]:  # noqa: ANN401 - pytest exports no such type before 8.4
        """Count fixtures of the project: each may undo what was just provisioned. Cached ones do not come here."""
        result = yield
        module = getattr(fixturedef.func, "__module__", None) or ""
        ours_or_pytests = (
            module.startswith(("_pytest.", "pytest_dogfood.")) and "unit_" not in fixturedef.argname
        )
        if not ours_or_pytests:
            self._provisioner.presence.workspace.changes.note_fixture(fixturedef.argname)
        return result

    @pytest.hookimpl
    def pytest_sessionfinish(self) -> None:
        """Let the actor go; nobody asks it any more."""
        actor = self._provisioner.presence.workspace.actor
        if actor is not None:
            actor.close()

    @pytest.fixture
    def dogfood_presence(self, request: pytest.FixtureRequest) -> None:
        """Ensure that what the item requires is present."""
        _prepare(request.node.stash[ITEM_RUN], request.getfixturevalue)

    @pytest.fixture
    def dogfood_state(self, request: pytest.FixtureRequest) -> Path:
        """Directory that the journeys of this test's chain share: a pathlib.Path."""
        return _turn_of(request, "dogfood_state").state.path

    @pytest.fixture
    def capabilities(self, request: pytest.FixtureRequest) -> Capabilities:
        """Values of the tokens this test requires; see `save` and `require`."""
        run = _turn_of(request, "capabilities")
        return Capabilities(run, lambda action: _as_pytest_has_it(run, action))

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> bool | None:
        if not isinstance(pyfuncitem.parent, JourneyFile):
            return None
        run = pyfuncitem.stash[ITEM_RUN]
        verbose = pyfuncitem.config.get_verbosity() > 0
        _as_pytest_has_it(run, lambda: run.run_steps(verbose=verbose))
        return True

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        run = item.stash.get(ITEM_RUN, None)
        if run is None:
            return (yield)
        if run.refusal is not None:
            raise run.refusal  # another plugin takes no notice of how the set-up has ended
        run.calling = True
        try:
            result = yield
        finally:
            run.calling = False
            # Some plugins set an item up again without a new protocol: what it has just done may have cost its tokens.
            self._provisioner.presence.workspace.changes.note(f"{run.journey.id} ran")
        if run.journey.establishes and run.parts.establishes and not has_failed_in_unittest(item):
            _as_pytest_has_it(run, run.establish)
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        __tracebackhide__ = True
        run = item.stash.get(ITEM_RUN, None)
        if run is None:
            return (yield)
        problems = [_told(run.clean_up)]
        try:
            result = yield
        except (Exception, *OUTCOMES) as error:
            run.leave()
            for problem in filter(None, problems):
                error.add_note(problem)
            raise
        run.leave()
        text = "\n".join(filter(None, problems))
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
        if report.when == "teardown":
            run.retract_result()  # before a rerun, which starts from what others have established
            item.stash[LAST_REPORT] = report
            result = run.result()
            report.__dict__["dogfood"] = result.to_json()
            report.user_properties = [*report.user_properties, *properties_of(run.planned, result)]
        return report

    @pytest.hookimpl
    def pytest_fixture_post_finalizer(self, fixturedef: Any) -> None:  # noqa: ANN401 - pytest exports no such type before 8.4
        token = self._providing.get(fixturedef.argname)
        if token is not None:
            self._provisioner.fixture_is_gone(token)


def _turn_of(request: pytest.FixtureRequest, fixture: str) -> ItemRun:
    run: ItemRun | None = request.node.stash.get(ITEM_RUN, None)
    if run is None:
        how = f"mark it with requires or establishes, or name `{fixture}` as an argument"
        raise harness_failure(HarnessError(f"{request.node.nodeid} does not belong to the graph: {how}"))
    return run


def _prepare(run: ItemRun, fixture: FixtureValue | None) -> None:
    """Provision what an item requires, or note what keeps it from being called."""
    __tracebackhide__ = True
    try:
        _as_pytest_has_it(run, lambda: run.prepare(fixture))
    except (Exception, *OUTCOMES) as refusal:
        run.refusal = refusal
        raise


def _end_set_up(run: ItemRun, *, has_fixtures: bool) -> None:
    """Make sure that an item can be called now, or note what keeps it from that."""
    __tracebackhide__ = True
    if not has_fixtures:
        _prepare(run, None)
    try:
        _as_pytest_has_it(run, run.complete)
    except (Exception, *OUTCOMES) as refusal:
        run.refusal = refusal
        raise
    run.refusal = None


def _as_pytest_has_it(run: ItemRun, action: Callable[[], T]) -> T:
    """Do something, and put what goes wrong into pytest's own terms, without frames of ours."""
    __tracebackhide__ = True
    try:
        return action()
    except DeferredError as error:
        raise deferral(error.cause) from None
    except NoActor as error:
        run.outcome = Outcome.NO_ACTOR
        raise pytest.skip.Exception(str(error)) from None
    except ProductFailure as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None
    except HarnessError as error:
        raise harness_failure(error) from None


def _fail(text: str) -> NoReturn:
    # A frame that is not hidden: where all are, pytest adds that they are.
    raise pytest.fail.Exception(text, pytrace=False)


def _torn_down(session: pytest.Session) -> str:
    """Tear down every fixture that is left; return what went wrong, or nothing."""
    ending = (pytest.exit.Exception, KeyboardInterrupt)
    call = pytest.CallInfo.from_call(lambda: tear_down_to(session, None), when="teardown", reraise=ending)
    return "" if call.excinfo is None else f"a fixture could not be torn down: {call.excinfo.exconly()}"


def _told(action: Callable[[], str | None]) -> str:
    try:
        return action() or ""
    except HarnessError as error:
        return f"harness: {error}"
