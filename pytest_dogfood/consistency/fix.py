"""Does what `fix` does to one checkout after another: the hub follows the files, the files follow the hub."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from pytest_dogfood.consistency.check import failed_report, judge_again, look, site_of
from pytest_dogfood.consistency.checkout_view import Judged, Question, RepoReport, Site, View
from pytest_dogfood.consistency.decision import Move
from pytest_dogfood.consistency.hub.store import Hub
from pytest_dogfood.consistency.task_findings import Case
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.hub import trouble
from pytest_dogfood.hub.checkoutlock import DEFAULT_TIMEOUT, checkout_lock
from pytest_dogfood.hub.entries import Checkout, Source, Stamp
from pytest_dogfood.hub.errors import HubError, HubUsageError, NoHubError
from pytest_dogfood.hub.findings import Action
from pytest_dogfood.hub.machine import Machine
from pytest_dogfood.hub.progress import SILENT, Progress
from pytest_dogfood.hub.syncing import Following
from pytest_dogfood.hub.tasks import Block, HubTask

RETRIES = 3
"""How often a change is decided anew because somebody else was faster."""

PULL_LINES = 5
"""How many of git's last lines tell why a pull failed."""

PULL_FAILED = "WARN: pull failed (conflicts or no remote) — running fix-consistency anyway"


def _ignore(_text: str) -> None:
    """Take no notice."""


class Errand(Struct, frozen=True, kw_only=True):
    """Who fixes, and how. With `pull` the checkout follows its upstream first; `notice` is told if it cannot."""

    machine: Machine
    actor: str
    run_id: str
    question: Question = field(default_factory=lambda: Question(fixing=True))
    lock_timeout: float = DEFAULT_TIMEOUT
    pull: bool = False
    notice: Callable[[str], None] = _ignore

    def stamp(self, source: Source, *, commit: str = "", path: str = "", reason: str = "") -> Stamp:
        return Stamp(
            machine=self.machine,
            actor=self.actor,
            source=source,
            repo_commit=commit,
            path=path,
            run_id=self.run_id,
            reason=reason,
        )


def fix(
    hub: Hub, checkouts: Iterable[Checkout], errand: Errand, *, progress: Progress = SILENT
) -> Iterator[RepoReport]:
    """Fix each checkout and report on it; what fails in one does not stop the others.

    Where the hub goes away or the user interrupts, the report of what was done until then comes first, and
    then HubUnreachable or KeyboardInterrupt.
    """
    for checkout in checkouts:
        progress.begin(checkout.repo)
        fixing = _Fixing(hub, checkout, errand, progress)
        try:
            fixing.run()
        except trouble.OF_ONE_CHECKOUT as error:
            yield fixing.failed(error)
            continue
        except HubError:
            if (so_far := fixing.report(broken_off=True)) is not None:
                yield so_far
            raise
        except BaseException:
            if (so_far := fixing.report()) is not None:
                yield so_far
            raise
        if (report := fixing.report()) is not None:
            yield report


@contextmanager
def locked(site: Site, *, timeout: float) -> Iterator[None]:
    """Hold the lock of a checkout, where there is a work tree that could be written; elsewhere compare-and-set does.

    Raises as `checkout_lock` does.
    """
    with ExitStack() as stack:
        if (git_dir := _git_dir(site)) is not None:
            stack.enter_context(checkout_lock(git_dir, timeout=timeout))
        yield


def _git_dir(site: Site) -> Path | None:
    try:
        return site.repository.place.git_dir
    except (HarnessError, OSError):
        return None


_DUE = frozenset({Action.HUB_UPDATE, Action.CREATE, Action.WRITEBACK})


def _without_hint_to_fix(judged: Judged) -> Judged:
    """Give a judgement whose items do not advise `fix` for what this fix was about to do and could not."""
    findings = (
        each if each.fixed or each.action not in _DUE else replace(each, hint="") for each in judged.findings
    )
    return replace(judged, findings=tuple(findings))


class _Fixing:
    """One checkout being fixed. `view` is what was seen, in which each judgement is replaced once it is done."""

    def __init__(self, hub: Hub, checkout: Checkout, errand: Errand, progress: Progress) -> None:
        self._hub = hub
        self._checkout = checkout
        self._errand = errand
        self._progress = progress
        self._report: RepoReport | None = None
        self._view: View | None = None

    def report(self, *, broken_off: bool = False) -> RepoReport | None:
        """Give what was done so far; `broken_off` by a failure, without the advice to run the same again."""
        if self._view is None:
            return self._report
        view = self._view
        if broken_off:
            view = replace(view, judged=tuple(map(_without_hint_to_fix, view.judged)))
        return view.report()

    def failed(self, error: Exception) -> RepoReport:
        failure = failed_report(self._checkout, error)
        so_far = self.report(broken_off=True)
        if so_far is None:
            return failure
        return replace(so_far, findings=(*failure.findings, *so_far.findings))

    def run(self) -> None:
        site = site_of(self._hub, self._checkout)
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(site, timeout=self._errand.lock_timeout))
            except HarnessError as error:
                finding = trouble.of_lock(self._checkout.repo, error)
                self._report = RepoReport(
                    repo=self._checkout.repo, path=self._checkout.path, findings=(finding,)
                )
                return
            self._view = look(self._hub, site, self._pulled(site))
            self._apply_all()
            self._write_back()

    def _pulled(self, site: Site) -> Question:
        """Pull if that was asked for; what was just pulled need not be fetched again."""
        question = self._errand.question
        if not self._errand.pull or question.offline:
            return question
        try:
            answer = site.repository.pull()
            why = "" if answer.ok else answer.complaint(PULL_LINES)
        except (HarnessError, OSError) as error:
            why = str(error)
        if not why:
            return replace(question, offline=True)
        self._errand.notice(PULL_FAILED)
        for line in why.splitlines():
            self._errand.notice(f"  | {line}")
        return question

    def _apply_all(self) -> None:
        view = self._view
        if view is None or not view.survey.condition.writes_hub:
            return
        due = [
            (at, judged)
            for at, judged in enumerate(view.judged)
            if judged.decision.hub_status is not None or judged.decision.new_path
        ]
        for count, (at, judged) in enumerate(due):
            self._progress.advance(count, len(due))
            done = self._applied(view, judged)
            self._view = view = replace(view, judged=(*view.judged[:at], done, *view.judged[at + 1 :]))

    def _applied(self, view: View, judged: Judged) -> Judged:
        for _ in range(RETRIES + 1):
            block = judged.pair.block
            if block is None or judged.decision.hub_status is None:
                return self._with_path_recorded(view, judged)
            try:
                written = self._write(view, judged, block)
            except NoHubError:
                raise
            except HubUsageError as error:
                return judged.with_first(action=Action.HELD, hint=str(error), reason="refused_by_hub")
            if written is not None:
                fixed = judged.with_first(fixed=True, hub_id=written.id)
                return self._with_path_recorded(view, fixed)
            judged = judge_again(self._hub, view, block)
        if judged.decision.hub_status is None:
            return self._with_path_recorded(view, judged)
        held = judged.with_first(action=Action.HELD)
        return held.with_more(trouble.of_race(held.findings[0], RETRIES + 1))

    def _write(self, view: View, judged: Judged, block: Block) -> HubTask | None:
        """Write to the hub once; gives the task, or None if it is not as it was seen."""
        decision, seen = judged.decision, judged.pair.hub
        if decision.hub_status is None:
            raise ValueError("there is nothing to write")
        if seen is None:
            return self._hub.create_task(
                HubTask(
                    id=block.hub_id or "",
                    repo=view.checkout.repo,
                    task_id=block.task_id,
                    title=block.title,
                    status=decision.hub_status.value,
                    reopen_count=decision.hub_reopen_count,
                    source_path=block.path,
                ),
                stamp=self._errand.stamp(Source.CREATE, commit=view.survey.head, path=block.path),
            )
        reopening = decision.move is Move.REOPEN
        stamp = self._errand.stamp(
            Source.REOPEN if reopening else Source.FILE,
            commit=view.survey.head,
            path=block.path,
            reason="recorded in the file, taken over by fix --accept-reopen" if reopening else "",
        )
        done = self._hub.compare_and_set(
            seen, decision.hub_status, reopen_count=decision.hub_reopen_count, stamp=stamp
        )
        return seen if done else None

    def _with_path_recorded(self, view: View, judged: Judged) -> Judged:
        task, path = judged.pair.hub, judged.decision.new_path
        if task is None or not path:
            return judged
        try:
            self._hub.record_path(task.id, path)
        except NoHubError:
            raise
        except HubUsageError as error:
            case = Case(repo=task.repo, hub=task, block=judged.pair.block, condition=view.survey.condition)
            return judged.with_more(trouble.of_refused_path(case, error))
        moved = (replace(each, fixed=True) if each.code == "C-37" else each for each in judged.findings)
        return replace(judged, findings=tuple(moved))

    def _write_back(self) -> None:
        if self._view is not None and self._view.survey.condition.writes_file:
            for view in Following(self._hub, self._view, run_id=self._errand.run_id).steps():
                self._view = view
