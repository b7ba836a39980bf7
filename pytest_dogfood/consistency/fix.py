"""What `fix` does to one checkout after another: the hub follows the files, the files follow the hub."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime

from msgspec import Struct, field
from msgspec.structs import replace

from pytest_dogfood.consistency import repository_findings
from pytest_dogfood.consistency.check import failed_report, look, refresh_report, site_of
from pytest_dogfood.consistency.checkout_view import (
    SILENT,
    CheckOptions,
    CheckoutContext,
    CheckoutView,
    DecidedTask,
    Progress,
    RepoReport,
)
from pytest_dogfood.consistency.decision import Move
from pytest_dogfood.consistency.edit import with_statuses
from pytest_dogfood.consistency.hub.model import (
    Block,
    Checkout,
    HubError,
    HubTask,
    HubUsageError,
    Machine,
    NoHubError,
    Source,
    Stamp,
    Status,
    Writeback,
)
from pytest_dogfood.consistency.hub.store import Hub
from pytest_dogfood.consistency.repository_findings import writeback_finding
from pytest_dogfood.consistency.task_findings import Action, Case
from pytest_dogfood.consistency.workplan import Document
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.git.commit import (
    EditRefusedError,
    StatusChange,
    WritebackRequest,
    WritebackResult,
    sync_message,
    write_back,
)
from pytest_dogfood.git.work_tree import DEFAULT_TIMEOUT, checkout_lock


class Writebacks:
    """The writebacks that are due in a view."""

    def __init__(self, hub: Hub, view: CheckoutView, *, run_id: str) -> None:
        self._hub = hub
        self._view = view
        self._run_id = run_id
        self._head = view.survey.head

    def steps(self) -> Iterator[CheckoutView]:
        """Do one file after another; gives the view after each, in which the judgements are done."""
        paths = dict.fromkeys(
            each.pair.block.path
            for each in self._view.decided
            if each.pair.block is not None and each.decision.file_status is not None
        )
        for path in paths:
            for _ in self._one_file(path):
                yield self._view

    def _one_file(self, path: str) -> Iterator[None]:
        document = self._view.documents[path]
        due = self._possible(document, [each for each in self._view.decided if _is_due(each, path)])
        yield
        if not due:
            return
        statuses = _statuses(due)
        changes = [
            StatusChange(task_id=_task_id(each), old=_old_status(each), new=statuses[_task_id(each)].value)
            for each in due
        ]
        planned = [self._record(each, change, path) for each, change in zip(due, changes, strict=True)]
        # The hub has taken no row of this run yet, if only files follow: see that it does before anything is committed.
        self._hub.require_writebacks(planned)
        result = write_back(
            self._view.repository,
            WritebackRequest(
                path=path,
                parsed=document.content,
                edit=lambda _content: with_statuses(document, statuses),
                message=sync_message(changes, datetime.now(UTC).date()),
                head=self._head,
            ),
            options=self._view.preferences.commit,
        )
        self._note(due, result)
        yield
        if result.ok and result.commit:
            self._hub.record_writebacks([replace(each, commit=result.commit) for each in planned])

    def _possible(self, document: Document, due: Sequence[DecidedTask]) -> list[DecidedTask]:
        """Leave out the tasks whose status cannot be edited: they must not keep the others of the file back."""
        try:
            with_statuses(document, _statuses(due))
        except EditRefusedError:
            refusals = {_task_id(each): _refusal(document, each) for each in due}
            for each in due:
                if why := refusals[_task_id(each)]:
                    held = _held(each)
                    refused = repository_findings.of_refused_edit(held.findings[0], why)
                    self._replace(each, held.with_more(refused))
            return [each for each in due if not refusals[_task_id(each)]]
        return list(due)

    def _note(self, due: Sequence[DecidedTask], result: WritebackResult) -> None:
        if result.commit:
            self._head = result.commit
        for each in due:
            ended = each.with_first(fixed=True, commit=result.commit) if result.ok else _held(each)
            self._replace(each, ended)
        if (finding := writeback_finding(result, self._view.checkout.repo)) is not None:
            self._view = replace(self._view, findings=(*self._view.findings, finding))

    def _replace(self, old: DecidedTask, new: DecidedTask) -> None:
        self._view = replace(
            self._view, decided=tuple(new if each is old else each for each in self._view.decided)
        )

    def _record(self, decided: DecidedTask, change: StatusChange, path: str) -> Writeback:
        return Writeback(
            run_id=self._run_id,
            checkout=self._view.checkout.id,
            path=path,
            task=decided.pair.hub.id if decided.pair.hub is not None else "",
            from_status=change.old,
            to_status=change.new,
            commit="",
        )


def _held(decided: DecidedTask) -> DecidedTask:
    return decided.with_first(action=Action.HELD, hint="")


def _is_due(decided: DecidedTask, path: str) -> bool:
    block = decided.pair.block
    return block is not None and block.path == path and decided.decision.file_status is not None


def _task_id(decided: DecidedTask) -> str:
    return decided.pair.block.task_id if decided.pair.block is not None else ""


def _old_status(decided: DecidedTask) -> str:
    return (decided.pair.block.status if decided.pair.block is not None else None) or ""


def _statuses(due: Sequence[DecidedTask]) -> dict[str, Status]:
    return {_task_id(each): status for each in due if (status := each.decision.file_status) is not None}


def _refusal(document: Document, decided: DecidedTask) -> str:
    try:
        with_statuses(document, _statuses([decided]))
    except EditRefusedError as error:
        return str(error)
    return ""


RETRIES = 3
"""How often a change is decided anew because somebody else was faster."""

PULL_LINES = 5
"""How many of git's last lines tell why a pull failed."""

PULL_FAILED = "WARN: pull failed (conflicts or no remote) — running fix-consistency anyway"


class FixOptions(Struct, frozen=True, kw_only=True):
    """Who fixes, and how. With `pull` the checkout follows its upstream first; `notice` hears why it cannot."""

    machine: Machine
    actor: str
    run_id: str
    question: CheckOptions = field(default_factory=lambda: CheckOptions(fixing=True))
    lock_timeout: float = DEFAULT_TIMEOUT
    pull: bool = False
    notice: Callable[[str], object] = str

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
    hub: Hub, checkouts: Iterable[Checkout], fix_options: FixOptions, *, progress: Progress = SILENT
) -> Iterator[RepoReport]:
    """Fix each checkout and report on it; what fails in one does not stop the others.

    Where the hub goes away or the user interrupts, the report of what was done until then comes first, and
    then HubUnreachable or KeyboardInterrupt.
    """
    for checkout in checkouts:
        progress.begin(checkout.repo)
        fixing = _CheckoutFix(hub, checkout, fix_options, progress)
        try:
            fixing.run()
        except repository_findings.OF_ONE_CHECKOUT as error:
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
def locked(context: CheckoutContext, *, timeout: float) -> Iterator[None]:
    """Hold the lock of a checkout, where there is a work tree that could be written; elsewhere compare-and-set does.

    Raises as `checkout_lock` does.
    """
    try:
        git_dir = context.repository.place.git_dir
    except (HarnessError, OSError):
        git_dir = None
    with nullcontext() if git_dir is None else checkout_lock(git_dir, timeout=timeout):
        yield


_DUE = frozenset({Action.HUB_UPDATE, Action.CREATE, Action.WRITEBACK})


def _without_hint_to_fix(decided: DecidedTask) -> DecidedTask:
    """Return a judgement whose items do not advise `fix` for what this fix was about to do and could not."""
    findings = (
        each if each.fixed or each.action not in _DUE else replace(each, hint="") for each in decided.findings
    )
    return replace(decided, findings=tuple(findings))


class _CheckoutFix:
    """One checkout being fixed. `view` is what was seen, in which each judgement is replaced once it is done."""

    def __init__(self, hub: Hub, checkout: Checkout, fix_options: FixOptions, progress: Progress) -> None:
        self._hub = hub
        self._checkout = checkout
        self._fix_options = fix_options
        self._progress = progress
        self._report: RepoReport | None = None
        self._view: CheckoutView | None = None

    def report(self, *, broken_off: bool = False) -> RepoReport | None:
        """Return what was done so far; `broken_off` by a failure, without the advice to run the same again."""
        if self._view is None:
            return self._report
        if broken_off:
            return replace(self._view, decided=tuple(map(_without_hint_to_fix, self._view.decided))).report()
        return self._view.report()

    def failed(self, error: Exception) -> RepoReport:
        failure = failed_report(self._checkout, error)
        so_far = self.report(broken_off=True)
        if so_far is None:
            return failure
        return replace(so_far, findings=(*failure.findings, *so_far.findings))

    def run(self) -> None:
        context = site_of(self._hub, self._checkout)
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(context, timeout=self._fix_options.lock_timeout))
            except HarnessError as error:
                finding = repository_findings.of_lock(self._checkout.repo, error)
                self._report = RepoReport(
                    repo=self._checkout.repo, path=self._checkout.path, findings=(finding,)
                )
                return
            self._view = look(self._hub, context, self._pulled(context))
            self._apply_all()
            self._write_back()

    def _pulled(self, context: CheckoutContext) -> CheckOptions:
        """Pull if that was asked for; what was just pulled need not be fetched again."""
        question = self._fix_options.question
        if not self._fix_options.pull or question.offline:
            return question
        try:
            answer = context.repository.pull()
            why = "" if answer.ok else answer.complaint(PULL_LINES)
        except (HarnessError, OSError) as error:
            why = str(error)
        if not why:
            return replace(question, offline=True)
        self._fix_options.notice(PULL_FAILED)
        for line in why.splitlines():
            self._fix_options.notice(f"  | {line}")
        return question

    def _apply_all(self) -> None:
        view = self._view
        if view is None or not view.survey.condition.writes_hub:
            return
        due = [
            (at, decided)
            for at, decided in enumerate(view.decided)
            if decided.decision.hub_status is not None or decided.decision.new_path
        ]
        for count, (at, decided) in enumerate(due):
            self._progress.advance(count, len(due))
            done = self._applied(view, decided)
            self._view = view = replace(view, decided=(*view.decided[:at], done, *view.decided[at + 1 :]))

    def _applied(self, view: CheckoutView, decided: DecidedTask) -> DecidedTask:
        for _ in range(RETRIES + 1):
            block = decided.pair.block
            if block is None or decided.decision.hub_status is None:
                return self._with_path_recorded(view, decided)
            try:
                written = self._write(view, decided, block)
            except NoHubError:
                raise
            except HubUsageError as error:
                return decided.with_first(action=Action.HELD, hint=str(error), reason="refused_by_hub")
            if written is not None:
                fixed = decided.with_first(fixed=True, hub_id=written.id)
                return self._with_path_recorded(view, fixed)
            decided = refresh_report(self._hub, view, block)
        if decided.decision.hub_status is None:
            return self._with_path_recorded(view, decided)
        held = decided.with_first(action=Action.HELD)
        return held.with_more(repository_findings.of_race(held.findings[0], RETRIES + 1))

    def _write(self, view: CheckoutView, decided: DecidedTask, block: Block) -> HubTask | None:
        """Write to the hub once; gives the task, or None if it is not as it was seen."""
        decision, seen = decided.decision, decided.pair.hub
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
                stamp=self._fix_options.stamp(Source.CREATE, commit=view.survey.head, path=block.path),
            )
        reopening = decision.move is Move.REOPEN
        stamp = self._fix_options.stamp(
            Source.REOPEN if reopening else Source.FILE,
            commit=view.survey.head,
            path=block.path,
            reason="recorded in the file, taken over by fix --accept-reopen" if reopening else "",
        )
        done = self._hub.compare_and_set(
            seen, decision.hub_status, reopen_count=decision.hub_reopen_count, stamp=stamp
        )
        return seen if done else None

    def _with_path_recorded(self, view: CheckoutView, decided: DecidedTask) -> DecidedTask:
        task, path = decided.pair.hub, decided.decision.new_path
        if task is None or not path:
            return decided
        try:
            self._hub.record_path(task.id, path)
        except NoHubError:
            raise
        except HubUsageError as error:
            case = Case(repo=task.repo, hub=task, block=decided.pair.block, condition=view.survey.condition)
            return decided.with_more(repository_findings.of_refused_path(case, error))
        moved = (replace(each, fixed=True) if each.code == "C-37" else each for each in decided.findings)
        return replace(decided, findings=tuple(moved))

    def _write_back(self) -> None:
        if self._view is not None and self._view.survey.condition.writes_file:
            for view in Writebacks(self._hub, self._view, run_id=self._fix_options.run_id).steps():
                self._view = view
