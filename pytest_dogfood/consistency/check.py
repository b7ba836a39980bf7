"""Looks at checkouts and says what differs from the hub, and what a fix left half-done. It writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from msgspec.structs import replace

from pytest_dogfood.consistency import repository_findings
from pytest_dogfood.consistency.checkout_view import (
    SILENT,
    CheckOptions,
    CheckoutContext,
    CheckoutView,
    DecidedTask,
    Progress,
    RepoReport,
)
from pytest_dogfood.consistency.decision import Decision, Move, Pair, RepoContents, decide, match
from pytest_dogfood.consistency.hub.location import pinned_id
from pytest_dogfood.consistency.hub.model import Block, Checkout, HubTask, HubUsageError
from pytest_dogfood.consistency.hub.store import Hub
from pytest_dogfood.consistency.preferences import read_preferences
from pytest_dogfood.consistency.repository_findings import file_finding, repo_finding
from pytest_dogfood.consistency.task_findings import Action, Finding
from pytest_dogfood.consistency.workplan import Document, parse, read_workplans
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.git.repository import Repository, Survey
from pytest_dogfood.git.tracked_file import FileState, GitFile
from pytest_dogfood.git.work_tree import RepoCondition, RepoState

_Agreeing = tuple[HubTask, Block]


def uncommitted(hub: Hub, view: CheckoutView) -> tuple[Finding, ...]:
    """Return the items of the files that hold, uncommitted, a status which the hub did not learn from them.

    What somebody has written into the file and the hub has learnt from it is theirs to commit, and not said.
    Where nothing may be written back there is nothing to say either. Raises HubUnreachable, HarnessError.
    """
    if not (view.survey.condition.writes_file and view.policy.writeback):
        return ()
    agreeing: dict[str, list[_Agreeing]] = {}
    for each in view.decided:
        hub_task, block = each.pair.hub, each.pair.block
        if each.decision.move is Move.AGREE and hub_task is not None and block is not None:
            agreeing.setdefault(block.path, []).append((hub_task, block))
    found = (
        file_finding(FileState.MODIFIED, view.checkout.repo, path, fixing=view.question.fixing)
        for path in _changed(view, agreeing)
        if any(not _was_told(hub, view, pair) for pair in _news_to_git(view, path, agreeing[path]))
    )
    return tuple(finding for finding in found if finding is not None)


def _changed(view: CheckoutView, paths: Iterable[str]) -> list[str]:
    """Return those files that are not as they were committed; some may be that only look so."""
    names = {GitFile(view.repository.git, view.repository.place, path).name: path for path in paths}
    tops = dict.fromkeys(PurePosixPath(name).parts[0] for name in names)
    if not tops or not view.survey.head:
        return []
    listed = view.repository.git.read(
        "--literal-pathspecs", "diff-index", "--name-only", "-z", view.survey.head, "--", *tops
    )
    return [names[name] for name in listed.records if name in names] if listed.ok else []


def _news_to_git(view: CheckoutView, path: str, pairs: Iterable[_Agreeing]) -> Iterator[_Agreeing]:
    """Yield those of a file's tasks for which another status is committed; a file that is not has none."""
    name = view.repository.place.prefix + path
    stored = view.repository.git.read("cat-file", "blob", f"{view.survey.head}:{name}")
    committed = parse(stored.out, path=path).blocks if stored.ok else ()
    statuses = {each.task_id: each.status for each in committed}
    return (pair for pair in pairs if statuses.get(pair[1].task_id, pair[1].status) != pair[1].status)


def _was_told(hub: Hub, view: CheckoutView, pair: _Agreeing) -> bool:
    """Return whether the hub has the status from this very file."""
    task, block = pair
    last = hub.events(task.id)[-1:]
    return any((event.machine, event.path) == (view.checkout.machine_id, block.path) for event in last)


__all__ = ["RepoReport", "examine_checkout", "look", "refresh_report", "report_checkouts", "site_of"]


def examine_checkout(
    hub: Hub,
    checkouts: Iterable[Checkout],
    *,
    offline: bool = False,
    named: Iterable[str] = (),
) -> tuple[RepoReport, ...]:
    """Do what `check` does: look at each checkout and change nothing but remote-tracking refs, unless `offline`.

    What fails in one checkout is a finding of its report. Raises HubUnreachable.
    """
    question = CheckOptions(offline=offline, named=frozenset(named))
    return tuple(report_checkouts(hub, checkouts, question))


def report_checkouts(
    hub: Hub, checkouts: Iterable[Checkout], question: CheckOptions, *, progress: Progress = SILENT
) -> Iterator[RepoReport]:
    """Report on each checkout, writing nothing; with `question.fixing` in the words of `fix`."""
    for checkout in checkouts:
        progress.begin(checkout.repo)
        try:
            yield with_file_states(look(hub, site_of(hub, checkout), question)).report()
        except repository_findings.OF_ONE_CHECKOUT as error:
            yield failed_report(checkout, error)


def failed_report(checkout: Checkout, error: Exception) -> RepoReport:
    """Return the report of a checkout that could not be looked at to the end."""
    finding = repository_findings.of_checkout(checkout.repo, error)
    return RepoReport(repo=checkout.repo, path=checkout.path, findings=(finding,))


def site_of(hub: Hub, checkout: Checkout) -> CheckoutContext:
    """Learn how a checkout wants to be treated. Raises SettingsError where its dogfood.yaml is of no use."""
    root = Path(checkout.path)
    try:
        preferences = read_preferences(root)
        pinned, where = pinned_id(root)
        hub.require_id(pinned, where=str(where))
    except HubUsageError as error:
        raise repository_findings.SettingsError(error) from error
    repository = Repository(root, limits=preferences.limits)
    return CheckoutContext(checkout=checkout, repository=repository, preferences=preferences)


def look(hub: Hub, context: CheckoutContext, question: CheckOptions) -> CheckoutView:
    """See everything and decide everything. Raises HubUnreachable."""
    checkout = context.checkout
    survey = _guarded(hub, context, context.repository.survey(offline=question.offline))
    view = CheckoutView(context=context, question=question, survey=survey)
    if survey.condition.state is not RepoState.PATH_MISSING:
        view = _judged(hub, view)
        view = replace(view, findings=(*view.findings, *uncommitted(hub, view)))
    due = any(each.decision.is_writeback_due for each in view.decided)
    state = repo_finding(
        survey.condition,
        checkout.repo,
        fixing=question.fixing,
        writeback_due=due and question.policy.writeback,
        named=checkout.repo in question.named,
    )
    return replace(view, findings=(state, *view.findings)) if state else view


def refresh_report(hub: Hub, view: CheckoutView, block: Block) -> DecidedTask:
    """Decide anew about one block, after the hub has changed."""
    repo = view.checkout.repo
    tasks = [task for task in hub.tasks(repo) if task.task_id == block.task_id or task.id == block.hub_id]
    matching = match(
        RepoContents(
            repo=repo,
            condition=view.survey.condition,
            blocks=(block,),
            tasks=tasks,
            elsewhere=_elsewhere(hub, repo, [block], tasks),
        )
    )
    for pair in matching.pairs:
        if pair.block is not None:
            return _decided(hub.histories(repo), view, pair)
    finding = matching.findings[0]
    return DecidedTask.of(Pair(hub=None, block=block), Decision(move=Move.HELD, finding=finding))


def with_file_states(view: CheckoutView) -> CheckoutView:
    """Add the items of files that could not follow the hub as they are now."""
    if not view.survey.condition.writes_file:
        return view
    paths = dict.fromkeys(
        each.pair.block.path for each in view.decided if each.pair.block and each.decision.file_status
    )
    found = {path: _obstacle(view, path) for path in paths}
    decided = tuple(
        each.with_first(action=Action.HELD, hint="")
        if each.pair.block and each.decision.file_status and found[each.pair.block.path]
        else each
        for each in view.decided
    )
    obstacles = [finding for finding in found.values() if finding is not None]
    return replace(view, decided=decided, findings=(*view.findings, *obstacles))


def _obstacle(view: CheckoutView, path: str) -> Finding | None:
    repo, fixing = view.checkout.repo, view.question.fixing
    try:
        file = GitFile(view.repository.git, view.repository.place, path)
        state = file.examined(view.documents[path].content).state
    except HarnessError as error:
        return repository_findings.of_file(repo, path, error, fixing=fixing)
    return None if state is FileState.CLEAN else file_finding(state, repo, path, fixing=fixing)


def _guarded(hub: Hub, context: CheckoutContext, survey: Survey) -> Survey:
    """See that the directory still holds the repository that was registered: some clone may have taken its place."""
    checkout = context.checkout
    root_commit = next((repo.root_commit for repo in hub.repos(checkout.repo)), "")
    if not root_commit or not survey.head or survey.shallow:
        return survey
    try:
        known = context.repository.git.read("cat-file", "-e", f"{root_commit}^{{commit}}").ok
    except HarnessError:
        known = True  # whoever cannot ask now has been told so already, or will be
    if known:
        return survey
    detail = f"{checkout.path} holds another repository, without its first commit {root_commit[:12]}"
    return replace(survey, condition=RepoCondition(state=RepoState.PATH_MISSING, detail=detail))


def _judged(hub: Hub, view: CheckoutView) -> CheckoutView:
    repo = view.checkout.repo
    documents = read_workplans(Path(view.checkout.path), view.preferences.workplans)
    tasks = hub.tasks(repo)
    blocks = [block for document in documents for block in document.blocks]
    matching = match(
        RepoContents(
            repo=repo,
            condition=view.survey.condition,
            blocks=blocks,
            tasks=tasks,
            elsewhere=_elsewhere(hub, repo, blocks, tasks),
            unreadable=_unreadable(documents, tasks),
            has_workplans=any(document.is_workplan for document in documents),
        )
    )
    histories = hub.histories(repo)
    return replace(
        view,
        documents={document.path: document for document in documents},
        decided=tuple(_decided(histories, view, pair) for pair in matching.pairs),
        findings=(
            *(finding for document in documents for finding in document.findings(repo)),
            *matching.findings,
        ),
    )


def _decided(histories: Mapping[str, frozenset[str]], view: CheckoutView, pair: Pair) -> DecidedTask:
    history = histories.get(pair.hub.id) if pair.hub is not None else None
    status = pair.block.status if pair.block is not None else None
    decision = decide(
        pair.hub,
        pair.block,
        repo=view.checkout.repo,
        condition=view.survey.condition,
        seen_in_history=None if history is None else status in history,
        policy=view.policy,
    )
    return DecidedTask.of(pair, decision)


def _elsewhere(hub: Hub, repo: str, blocks: Iterable[Block], tasks: Iterable[HubTask]) -> dict[str, HubTask]:
    """Return the tasks of other repositories that blocks name; hardly ever any."""
    here = {task.id for task in tasks}
    strange = dict.fromkeys(block.hub_id for block in blocks if block.hub_id and block.hub_id not in here)
    found = (hub.task(hub_id) for hub_id in strange)
    return {task.id: task for task in found if task is not None and task.repo != repo}


def _unreadable(documents: Iterable[Document], tasks: Iterable[HubTask]) -> frozenset[str]:
    """Return the paths of which nothing is known: files, and all that a directory may hold."""
    closed = tuple(document.path for document in documents if document.unreadable)
    within = tuple(f"{path}/" for path in closed)
    return frozenset(closed) | {task.source_path for task in tasks if task.source_path.startswith(within)}
