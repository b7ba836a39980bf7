"""Compares checkouts with the hub, and reports differences and unfinished fixes. It writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from msgspec import Struct, field
from msgspec.structs import replace

from pytest_dogfood.consistency import repository_findings
from pytest_dogfood.consistency.decision import (
    DEFAULT_POLICY,
    Decision,
    DecisionKind,
    Policy,
    RepoContents,
    SameRank,
    decide,
    match,
)
from pytest_dogfood.consistency.hub.location import read_settings_section, require_pinned
from pytest_dogfood.consistency.hub.model import Block, Checkout, HubTask, HubUsageError
from pytest_dogfood.consistency.hub.store import Hub
from pytest_dogfood.consistency.repository_findings import file_finding, repo_finding
from pytest_dogfood.consistency.task_findings import Action, Case, Finding
from pytest_dogfood.consistency.workplan import Document, parse, read_workplans
from pytest_dogfood.diagnostics import HarnessError
from pytest_dogfood.git.command import DEFAULT_LIMITS, Limits
from pytest_dogfood.git.commit import DEFAULT_OPTIONS, CommitOptions, Signing
from pytest_dogfood.git.repository import Repository, Survey
from pytest_dogfood.git.tracked_file import FileState
from pytest_dogfood.git.work_tree import RepoCondition, RepoState

WORKPLANS = ("workplans/", "**/*-WP-*.md")
"""The places of workplans, unless the settings of a repository name others."""


class Preferences(Struct, frozen=True, kw_only=True):
    """The settings of a repository."""

    workplans: tuple[str, ...] = WORKPLANS
    same_rank: SameRank = SameRank.HISTORY
    commit: CommitOptions = DEFAULT_OPTIONS
    limits: Limits = DEFAULT_LIMITS


def read_preferences(root: Path) -> Preferences:
    """Read the settings in the dogfood.yaml at the root of a repository; raises HubUsageError if they are invalid."""
    said = read_settings_section(root, "consistency") or {}
    limits = {"fetch": "fetch_timeout", "commit": "commit_timeout", "other": "git_timeout"}
    return Preferences(
        workplans=said.get("workplans", WORKPLANS),
        same_rank=SameRank(said.get("same_rank", SameRank.HISTORY)),
        commit=CommitOptions(
            no_verify=said.get("commit_no_verify", False),
            sign=Signing(said.get("commit_sign", Signing.INHERIT)),
        ),
        limits=Limits(**{name: said[key] for name, key in limits.items() if key in said}),
    )


class RepoReport(Struct, frozen=True, kw_only=True):
    """The report of one checkout. `task_ids` are all tasks that were checked, with or without findings.

    `path` is empty for a repository that has no checkout on this machine; `git` is the state of the repository.
    `to_push` is the number of commits that the upstream does not have, if `fix` made one of them.
    """

    repo: str
    path: str = ""
    findings: tuple[Finding, ...] = ()
    task_ids: tuple[str, ...] = ()
    to_push: int = 0
    git: Mapping[str, object] = field(default_factory=dict)


class CheckOptions(Struct, frozen=True, kw_only=True):
    """The options of a check. `fixing` words the findings for `fix`; `named` are repositories that the user named."""

    offline: bool = False
    fixing: bool = False
    policy: Policy = DEFAULT_POLICY
    named: frozenset[str] = frozenset()


class CheckoutView(Struct, frozen=True, kw_only=True):
    """A checkout, its settings, everything that was read of it, and the decisions about its tasks."""

    checkout: Checkout
    repository: Repository
    preferences: Preferences
    options: CheckOptions
    survey: Survey = Survey(condition=RepoCondition(state=RepoState.NOT_HERE))
    documents: Mapping[str, Document] = field(default_factory=dict)
    decisions: tuple[Decision, ...] = ()
    findings: tuple[Finding, ...] = ()

    def report(self) -> RepoReport:
        """Return the report, in which the items stand in the order of the files."""
        found = [*self.findings, *(finding for each in self.decisions for finding in each.findings)]
        sides = (side for each in self.decisions for side in (each.case.block, each.case.hub))
        ids = (side.task_id for side in sides if side is not None and side.task_id)
        return RepoReport(
            repo=self.checkout.repo,
            path=self.checkout.path,
            findings=tuple(sorted(dict.fromkeys(found), key=lambda each: (each.path, each.line))),
            task_ids=tuple(dict.fromkeys([*ids, *(each.task_id for each in found if each.task_id)])),
            git=self.survey.to_json(),
        )


def check(hub: Hub, checkouts: Iterable[Checkout], options: CheckOptions) -> Iterator[RepoReport]:
    """Report on each checkout; change nothing except remote-tracking refs, and with `options.offline` not even those.

    An error in one checkout is a finding of its report. Raises HubUnreachable.
    """
    for checkout in checkouts:
        try:
            view = inspect_checkout(hub, open_checkout(hub, checkout, options))
            yield _with_file_states(view).report()
        except repository_findings.CHECKOUT_ERRORS as error:
            yield failed_report(checkout, error)


def failed_report(checkout: Checkout, error: Exception) -> RepoReport:
    """Return the report of a checkout whose check failed."""
    finding = repository_findings.checkout_finding(checkout.repo, error)
    return RepoReport(repo=checkout.repo, path=checkout.path, findings=(finding,))


def open_checkout(hub: Hub, checkout: Checkout, options: CheckOptions) -> CheckoutView:
    """Read the settings of a checkout. Raises SettingsError if its dogfood.yaml cannot be used."""
    root = Path(checkout.path)
    try:
        preferences = read_preferences(root)
        require_pinned(hub, root)
    except HubUsageError as error:
        raise repository_findings.SettingsError(error) from error
    repository = Repository(root, limits=preferences.limits)
    options = replace(options, policy=replace(options.policy, same_rank=preferences.same_rank))
    return CheckoutView(checkout=checkout, repository=repository, preferences=preferences, options=options)


def inspect_checkout(hub: Hub, view: CheckoutView) -> CheckoutView:
    """Read everything and decide about every task. Raises HubUnreachable."""
    checkout, options = view.checkout, view.options
    survey = _of_registered_repository(hub, view, view.repository.survey(offline=options.offline))
    view = replace(view, survey=survey)
    if survey.condition.state is not RepoState.PATH_MISSING:
        view = _with_decisions(hub, view)
        view = replace(view, findings=(*view.findings, *_uncommitted(hub, view)))
    due = any(each.is_writeback_due for each in view.decisions)
    state = repo_finding(
        survey.condition,
        checkout.repo,
        fixing=options.fixing,
        writeback_due=due and options.policy.writeback,
        named=checkout.repo in options.named,
    )
    return replace(view, findings=(state, *view.findings)) if state else view


def decide_again(hub: Hub, view: CheckoutView, block: Block) -> Decision:
    """Decide again about one block, after the hub has changed."""
    repo = view.checkout.repo
    tasks = [task for task in hub.tasks(repo) if task.task_id == block.task_id or task.id == block.hub_id]
    contents = _contents(hub, view, [block], tasks)
    matching = match(contents)
    for case in matching.cases:
        if case.block is not None:
            return _decide(hub.histories(repo), view, case)
    case = contents.case(None, block)
    return Decision(case=case, kind=DecisionKind.HELD, findings=matching.findings[:1])


def _of_registered_repository(hub: Hub, view: CheckoutView, survey: Survey) -> Survey:
    """Check that the directory still holds the registered repository: another may have replaced it."""
    root_commit = next((repo.root_commit for repo in hub.repos(view.checkout.repo)), "")
    if not root_commit or not survey.head or survey.shallow:
        return survey
    try:
        known = view.repository.git.read("cat-file", "-e", f"{root_commit}^{{commit}}").ok
    except HarnessError:
        known = True  # that git cannot be used is reported elsewhere
    if known:
        return survey
    detail = f"{view.checkout.path} holds another repository, without its first commit {root_commit[:12]}"
    return replace(survey, condition=RepoCondition(state=RepoState.PATH_MISSING, detail=detail))


def _with_decisions(hub: Hub, view: CheckoutView) -> CheckoutView:
    repo = view.checkout.repo
    documents = read_workplans(Path(view.checkout.path), view.preferences.workplans)
    tasks = hub.tasks(repo)
    # Unreadable files, and all files that an unreadable directory may hold.
    closed = [document.path for document in documents if document.unreadable]
    within = tuple(f"{path}/" for path in closed)
    blocks = [block for document in documents for block in document.blocks]
    contents = replace(
        _contents(hub, view, blocks, tasks),
        unreadable={*closed, *(task.source_path for task in tasks if task.source_path.startswith(within))},
        has_workplans=any(document.is_workplan for document in documents),
    )
    matching = match(contents)
    histories = hub.histories(repo)
    about_files = (finding for document in documents for finding in document.findings(repo))
    return replace(
        view,
        documents={document.path: document for document in documents},
        decisions=tuple(_decide(histories, view, case) for case in matching.cases),
        findings=(*about_files, *matching.findings),
    )


def _contents(
    hub: Hub, view: CheckoutView, blocks: Sequence[Block], tasks: Sequence[HubTask]
) -> RepoContents:
    repo, here = view.checkout.repo, {task.id for task in tasks}
    # Tasks of other repositories: hardly ever any.
    strange = dict.fromkeys(block.hub_id for block in blocks if block.hub_id and block.hub_id not in here)
    found = (hub.task(hub_id) for hub_id in strange)
    return RepoContents(
        repo=repo,
        condition=view.survey.condition,
        blocks=blocks,
        tasks=tasks,
        elsewhere={task.id: task for task in found if task is not None and task.repo != repo},
    )


def _decide(histories: Mapping[str, frozenset[str]], view: CheckoutView, case: Case) -> Decision:
    history = histories.get(case.hub.id) if case.hub is not None else None
    seen = None if history is None else case.file_status in history
    return decide(case, seen_in_history=seen, policy=view.options.policy)


def _uncommitted(hub: Hub, view: CheckoutView) -> Iterator[Finding]:
    """Yield findings on files with an uncommitted status that the hub did not get from them.

    A status that the hub got from this file is the user's change, and is not reported. If nothing may be written back,
    nothing is reported either. Raises HubUnreachable, HarnessError.
    """
    if not (view.survey.condition.writes_file and view.options.policy.writeback):
        return
    repo = view.checkout.repo
    agreeing: dict[str, list[tuple[HubTask, Block]]] = {}
    for each in view.decisions:
        task, block = each.case.hub, each.case.block
        if each.kind is DecisionKind.AGREE and task is not None and block is not None:
            agreeing.setdefault(block.path, []).append((task, block))
    for path in _changed(view, agreeing):
        name = view.repository.work_tree.prefix + path
        stored = view.repository.git.read("cat-file", "blob", f"{view.survey.head}:{name}")
        committed = parse(stored.out, path=path).blocks if stored.ok else ()
        statuses = {each.task_id: each.status for each in committed}
        for task, block in agreeing[path]:
            if statuses.get(block.task_id, block.status) == block.status:
                continue
            learnt = [(event.machine, event.path) for event in hub.events(task.id)[-1:]]
            if learnt != [(view.checkout.machine_id, path)]:
                finding = file_finding(FileState.MODIFIED, repo, path, fixing=view.options.fixing)
                yield from (finding,) if finding is not None else ()
                break


def _changed(view: CheckoutView, paths: Iterable[str]) -> list[str]:
    """Return the files that differ from the last commit; some may only seem to."""
    names = {view.repository.file(path).name: path for path in paths}
    tops = dict.fromkeys(PurePosixPath(name).parts[0] for name in names)
    if not tops or not view.survey.head:
        return []
    listed = view.repository.git.read(
        "--literal-pathspecs", "diff-index", "--name-only", "-z", view.survey.head, "--", *tops
    )
    return [names[name] for name in listed.records if name in names] if listed.ok else []


def _with_file_states(view: CheckoutView) -> CheckoutView:
    """Add findings on files that should follow the hub, but cannot in their present state."""
    repo, fixing = view.checkout.repo, view.options.fixing
    found: dict[str, Finding | None] = {}
    for path in dict.fromkeys(each.case.path for each in view.decisions if each.file_status):
        try:
            state = view.repository.file(path).status(view.documents[path].content).state
            found[path] = file_finding(state, repo, path, fixing=fixing)
        except HarnessError as error:
            found[path] = repository_findings.unreadable_file_finding(repo, path, error, fixing=fixing)
    decisions = tuple(
        each.with_first(action=Action.HELD, hint="") if each.file_status and found[each.case.path] else each
        for each in view.decisions
    )
    obstacles = [finding for finding in found.values() if finding is not None]
    return replace(view, decisions=decisions, findings=(*view.findings, *obstacles))
