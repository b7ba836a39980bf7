"""What a page leaves out so that it does not get too large, what matters least first."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct, field
from msgspec.structs import replace

from pytest_dogfood.report.page_parts import MOST_ROWS, OPENING_CAUSES
from pytest_dogfood.report.run_view import ActivityView, JourneyView, OutputText, RunView, StepView, TokenView


def views_to_try(view: RunView, longest: int) -> Iterator[RunView]:
    """Yield a view whose page should fit into so many bytes, and after it smaller ones: that is an estimate."""
    sizes = _sizes_of(view)
    for rung in RUNGS:
        if rung is RUNGS[-1] or sizes.left_by(rung) <= longest:
            yield rung.applied_to(view)


class Rung(Struct, frozen=True, kw_only=True):
    """How much is left out of a page that would be too large; `note` says it to its readers.

    `outputs` and `steps` are those that passed, `most` characters stay of each other output, and `tokens` of those that
    are present. `first_causes` leaves the steps of those root causes only that are told in full.
    """

    outputs: bool = True
    steps: bool = True
    tokens: int | None = None
    most: int | None = None
    first_causes: bool = False
    note: str = ""

    def applied_to(self, view: RunView) -> RunView:
        """Return the view without what this leaves out."""
        if not self.note:
            return view
        missing, present = by_presence(view.tokens)
        told = {str(one.id) for one in view.causes[:OPENING_CAUSES]} if self.first_causes else None
        return replace(
            view,
            journeys=tuple(self._journey(one, told) for one in view.journeys),
            causes=tuple(
                replace(
                    one, step=None if one.step is None else self._step(one.step), text=self._text(one.text)
                )
                for one in view.causes
            ),
            others=tuple(map(self._activity, view.others)),
            for_no_journey=tuple(map(self._activity, view.for_no_journey)),
            tokens=(*missing[:MOST_ROWS], *present[: self.tokens]),
            cut=(*view.cut, f"{self.note} The page would be too large."),
        )

    def _journey(self, one: JourneyView, told: set[str] | None) -> JourneyView:
        if told is not None and one.id not in told:
            return replace(one, tries=(), done_for_it=())
        done = [part for part in one.done_for_it if self.steps or not _passed(part)]
        return replace(
            one,
            tries=tuple(map(self._activity, one.tries)),
            done_for_it=tuple(map(self._activity, done)),
        )

    def _activity(self, activity: ActivityView) -> ActivityView:
        steps = activity.steps if self.steps else [step for step in activity.steps if not _step_passed(step)]
        return replace(activity, steps=tuple(map(self._step, steps)), text=self._text(activity.text))

    def _step(self, step: StepView) -> StepView:
        if _step_passed(step) and not self.outputs:
            if step.out.text or step.err.text:
                return replace(step, out=_GONE, err=_GONE)
        elif self.most is not None:
            out, err = (replace(one, text=self._text(one.text)) for one in (step.out, step.err))
            return replace(step, out=out, err=err)
        return step

    def _text(self, text: str) -> str:
        if self.most is None or len(text) <= self.most:
            return text
        return f"… {len(text) - self.most} characters are left out here …\n{text[-self.most :]}"


_GONE = OutputText(gone=True)

_FEW_TOKENS = 500

RUNGS = (
    Rung(),
    Rung(outputs=False, note="What passed steps printed."),
    Rung(
        outputs=False,
        steps=False,
        tokens=_FEW_TOKENS,
        note=f"Steps that passed, and all but {_FEW_TOKENS} of the tokens that are present.",
    ),
    *(
        Rung(
            outputs=False,
            steps=False,
            tokens=_FEW_TOKENS,
            most=most,
            note=f"Steps that passed, and of what others printed all but the last {most} characters.",
        )
        for most in (4096, 256)
    ),
    Rung(
        outputs=False,
        steps=False,
        tokens=_FEW_TOKENS,
        most=256,
        first_causes=True,
        note=f"Steps of all journeys but the first {OPENING_CAUSES} that went wrong.",
    ),
)


def by_presence(tokens: tuple[TokenView, ...]) -> tuple[list[TokenView], list[TokenView]]:
    """Return the missing ones, and the others."""
    return [one for one in tokens if not one.present], [one for one in tokens if one.present]


def _passed(activity: ActivityView) -> bool:
    return activity.outcome.establishes and all(map(_step_passed, activity.steps))


def _step_passed(step: StepView) -> bool:
    return not step.wrong and not step.timed_out and step.exit is not None


class _Sizes(Struct):
    """About how many bytes of a page are due to what, and how long each output of a step is that did not pass."""

    rest: int = 40_000
    outputs: int = 0
    steps: int = 0
    tokens: int = 0
    texts: list[int] = field(default_factory=list)

    def left_by(self, rung: Rung) -> int:
        most = rung.most
        size = self.rest + (self.outputs if rung.outputs else 0) + (self.steps if rung.steps else 0)
        size += self.tokens if rung.tokens is None else 0
        return size + sum(self.texts if most is None else (min(one, most) for one in self.texts))


def _sizes_of(view: RunView) -> _Sizes:
    """Estimate what becomes of the texts in a page: each is at least as long there, and has its markup."""
    sizes = _Sizes(tokens=sum(150 + 2 * len(one.token) + len(one.why) for one in view.tokens))
    sizes.rest += sum(110 + 2 * len(bar.id) for lane in view.lanes for bar in lane.bars)
    sizes.rest += sum(900 + 3 * len(one.id) for one in view.causes[:MOST_ROWS])
    sizes.rest += sum(260 + 2 * len(one.id) + len(one.nodeid) for one in view.journeys)
    done = (part for one in view.journeys for part in (*one.tries, *one.done_for_it))
    for activity in (*view.others, *view.for_no_journey, *done):
        sizes.texts.append(len(activity.text))
        for step in activity.steps:
            head, out, err = (
                150 + len(step.intent) + len(step.command),
                len(step.out.text),
                len(step.err.text),
            )
            if _step_passed(step):
                sizes.steps += head
                sizes.outputs += out + err
            else:
                sizes.rest += head + 300
                sizes.texts += [out, err]
    return sizes
