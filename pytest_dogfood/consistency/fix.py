"""`fix`, one checkout after another: updates the hub from the files, and the files from the hub."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from pytest_dogfood.consistency import repository_findings
from pytest_dogfood.consistency.check import (
    CheckOptions,
    CheckoutView,
    RepoReport,
    decide_again,
    failed_report,
    inspect_checkout,
    open_checkout,
)
from pytest_dogfood.consistency.decision import Decision, DecisionKind
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
from pytest_dogfood.git.repository import Repository
from pytest_dogfood.git.work_tree import DEFAULT_TIMEOUT, checkout_lock

RETRIES = 3
"""How often a change is decided again because another program changed the task first."""

PULL_FAILED = "WARN: pull failed (conflicts or no remote) — running fix-consistency anyway"


class FixOptions(Struct, frozen=True, kw_only=True):
    """The options of a fix. With `pull` the checkout is pulled first; `notice` is called with the reason if that fails.

    `advance` is called with the number of changes that the hub has got from a checkout, and the number of all of them.
    """

    machine: Machine
    actor: str
    run_id: str
    check_options: CheckOptions = CheckOptions(fixing=True)
    lock_timeout: float = DEFAULT_TIMEOUT
    pull: bool = False
    notice: Callable[[str], object] = str
    advance: Callable[[int, int], object] | None = None

    def stamp(self, source: Source, **more: str) -> Stamp:
        """Return the stamp of a change; `more` are further fields for the event log."""
        return Stamp(machine=self.machine, actor=self.actor, source=source, run_id=self.run_id, **more)


def fix(hub: Hub, checkouts: Iterable[Checkout], options: FixOptions) -> Iterator[RepoReport]:
    """Fix each checkout and report on it; an error in one does not stop the others.

    If the hub goes away or the user interrupts, yield the report of what was done until then, and then raise
    HubUnreachable or KeyboardInterrupt.
    """
    for checkout in checkouts:
        fixing: _CheckoutFix | None = None
        try:
            view = open_checkout(hub, checkout, options.check_options)
            with locked(view.repository, timeout=options.lock_timeout):
                if options.pull and not options.check_options.offline:
                    view = _pulled(view, options)
                fixing = _CheckoutFix(hub, inspect_checkout(hub, view), options)
                fixing.update_hub()
                fixing.update_files()
        except repository_findings.CHECKOUT_ERRORS as error:
            report = failed_report(checkout, error)
            if fixing is not None:
                so_far = fixing.report(broken_off=True)
                report = replace(so_far, findings=(*report.findings, *so_far.findings))
            yield report
        except BaseException as error:
            if fixing is not None:
                yield fixing.report(broken_off=isinstance(error, HubError))
            raise
        else:
            yield fixing.report()


def locked(repository: Repository, *, timeout: float) -> AbstractContextManager[object]:
    """Return the lock of a checkout if it has a work tree; the hub needs none, because it compares before it sets.

    Entering it raises what `checkout_lock` raises.
    """
    try:
        return checkout_lock(repository.work_tree.git_dir, timeout=timeout)
    except (HarnessError, OSError):
        return nullcontext()


def _pulled(view: CheckoutView, options: FixOptions) -> CheckoutView:
    """Pull; after that, nothing is fetched again."""
    try:
        answer = view.repository.pull()
        why = "" if answer.ok else answer.error_text(lines=5)
    except (HarnessError, OSError) as error:
        why = str(error)
    if not why:
        return replace(view, options=replace(view.options, offline=True))
    options.notice(PULL_FAILED)
    for line in why.splitlines():
        options.notice(f"  | {line}")
    return view


_DUE = frozenset({Action.HUB_UPDATE, Action.CREATE, Action.WRITEBACK})


class _CheckoutFix:
    """One checkout being fixed: its view, and the decisions, each replaced once it is carried out."""

    def __init__(self, hub: Hub, view: CheckoutView, options: FixOptions) -> None:
        self._hub = hub
        self._view = view
        self._options = options
        self._decisions = list(view.decisions)
        self._findings = list(view.findings)
        self._head = view.survey.head

    def report(self, *, broken_off: bool = False) -> RepoReport:
        """Return the report so far; if `broken_off` by a failure, without the hint to run the command again."""
        view = replace(self._view, decisions=tuple(self._decisions), findings=tuple(self._findings))
        has_committed = self._head != view.survey.head
        report = replace(view.report(), to_push=view.repository.commits_to_push() if has_committed else 0)
        if not broken_off:
            return report
        findings = (
            replace(each, hint="") if each.action in _DUE and not each.fixed else each
            for each in report.findings
        )
        return replace(report, findings=tuple(findings))

    def update_hub(self) -> None:
        """Update the hub from the files, as decided."""
        due = [at for at, each in enumerate(self._decisions) if each.hub_status is not None or each.new_path]
        for count, at in enumerate(due):
            if self._options.advance is not None:
                self._options.advance(count, len(due))
            self._decisions[at] = self._applied(self._decisions[at])

    def update_files(self) -> None:
        """Update the files from the hub, as decided, one file after another."""
        due: dict[str, list[int]] = {}
        for at, decision in enumerate(self._decisions):
            if decision.file_status is not None:
                due.setdefault(decision.case.path, []).append(at)
        for path, positions in due.items():
            self._update_file(path, positions)

    def _applied(self, decision: Decision) -> Decision:
        for _ in range(RETRIES + 1):
            block, status = decision.case.block, decision.hub_status
            if block is None or status is None:
                return self._with_path_recorded(decision)
            try:
                written = self._write(decision, block, status)
            except NoHubError:
                raise
            except HubUsageError as error:
                return decision.with_first(action=Action.HELD, hint=str(error), reason="refused_by_hub")
            if written is not None:
                return self._with_path_recorded(decision.with_first(fixed=True, hub_id=written.id))
            decision = decide_again(self._hub, self._view, block)
        if decision.hub_status is None:
            return self._with_path_recorded(decision)
        held = decision.with_first(action=Action.HELD)
        return held.with_more(repository_findings.race_finding(held.case, RETRIES + 1))

    def _write(self, decision: Decision, block: Block, status: Status) -> HubTask | None:
        """Write to the hub once; return the task, or None if it has changed since it was read."""
        seen, head, count = decision.case.hub, self._view.survey.head, decision.hub_reopen_count
        if seen is None:
            task = HubTask(
                id=block.hub_id or "",
                repo=self._view.checkout.repo,
                task_id=block.task_id,
                title=block.title,
                status=status.value,
                reopen_count=count,
                source_path=block.path,
            )
            stamp = self._options.stamp(Source.CREATE, repo_commit=head, path=block.path)
            return self._hub.create_task(task, stamp=stamp)
        source, reason = Source.FILE, ""
        if decision.kind is DecisionKind.REOPEN:
            source, reason = Source.REOPEN, "recorded in the file, taken over by fix --accept-reopen"
        stamp = self._options.stamp(source, repo_commit=head, path=block.path, reason=reason)
        return seen if self._hub.move_forward(seen, status, reopen_count=count, stamp=stamp) else None

    def _with_path_recorded(self, decision: Decision) -> Decision:
        if decision.case.hub is None or not decision.new_path:
            return decision
        try:
            self._hub.record_path(decision.case.hub.id, decision.new_path)
        except NoHubError:
            raise
        except HubUsageError as error:
            return decision.with_more(repository_findings.refused_path_finding(decision.case, error))
        moved = (replace(each, fixed=True) if each.code == "C-37" else each for each in decision.findings)
        return replace(decision, findings=tuple(moved))

    def _update_file(self, path: str, positions: Sequence[int]) -> None:
        positions = self._editable(self._view.documents[path], positions)
        if not positions:
            return
        due = [self._decisions[at] for at in positions]
        result, done = write_statuses(
            self._hub, self._view, self._options, [each.case for each in due], _statuses(due), head=self._head
        )
        self._head = result.commit or self._head
        for at, each in zip(positions, due, strict=True):
            self._decisions[at] = (
                each.with_first(fixed=True, commit=result.commit) if result.ok else _held(each)
            )
        finding = repository_findings.writeback_finding(result, self._view.checkout.repo, path)
        if finding is not None:
            self._findings.append(finding)
        self._hub.record_writebacks(done)

    def _editable(self, document: Document, positions: Sequence[int]) -> Sequence[int]:
        """Leave out the tasks whose status cannot be edited, so that the others of the file are still updated."""
        try:
            with_statuses(document, _statuses(self._decisions[at] for at in positions))
        except EditRefusedError as error:
            if len(positions) > 1:
                return [at for one in positions for at in self._editable(document, [one])]
            held = _held(self._decisions[positions[0]])
            refused = repository_findings.refused_edit_finding(held.case, str(error))
            self._decisions[positions[0]] = held.with_more(refused)
            return []
        return positions


def _held(decision: Decision) -> Decision:
    return decision.with_first(action=Action.HELD, hint="")


def _statuses(due: Iterable[Decision]) -> dict[str, Status]:
    return {each.case.task_id: each.file_status for each in due if each.file_status is not None}


def write_statuses(
    hub: Hub,
    view: CheckoutView,
    options: FixOptions,
    cases: Sequence[Case],
    statuses: Mapping[str, Status],
    *,
    head: str,
    edit: Callable[[], bytes] | None = None,
    message: str = "",
) -> tuple[WritebackResult, Sequence[Writeback]]:
    """Write the statuses of these tasks, by task id, into their file and commit it; the hub is not changed.

    Return the result, and the writebacks to pass to `hub.record_writebacks` then. `edit` and `message` are for an edit
    that changes more than the statuses. Raises HubError if the hub could not record it.
    """
    path = cases[0].path
    document = view.documents[path]
    changes = [
        StatusChange(task_id=each.task_id, old=each.file_status, new=statuses[each.task_id].value)
        for each in cases
    ]
    planned = [
        Writeback(
            run_id=options.run_id,
            checkout=view.checkout.id,
            path=path,
            task=case.hub.id if case.hub is not None else "",
            from_status=change.old,
            to_status=change.new,
            commit="",
        )
        for case, change in zip(cases, changes, strict=True)
    ]
    # If only files are updated, the hub has stored no row of this run yet: ensure that it can before any commit.
    hub.require_writebacks(planned)
    request = WritebackRequest(
        path=path,
        parsed=document.content,
        edit=edit or partial(with_statuses, document, statuses),
        message=message or sync_message(changes, datetime.now(UTC).date()),
        head=head,
    )
    result = write_back(view.repository, request, options=view.preferences.commit)
    written = planned if result.ok and result.commit else []
    return result, [replace(each, commit=result.commit) for each in written]
