"""Questions under each other in a notebook, answered by mouse or keyboard: the view holds widgets and no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from typing import Any

import ipywidgets as ipw
import traitlets

from fcnviz.exercises.course import question
from fcnviz.exercises.judging import check
from fcnviz.exercises.records import Question, Result, Score, Verdict
from fcnviz.exercises.sheet import question_html, right, score_html

LABELS: Mapping[str, str] = {
    "shape": "Your answer, a shape",
    "number": "Your answer, a whole number",
    "decimal": "Your answer, a number with one digit after the point",
}
NOTHING, UNTYPED = "Nothing chosen yet.", "Type an answer."
NONE_OF_THESE = "none of these"
BOTH = f"“{NONE_OF_THESE}” is ticked beside others: which is it?"
HINTS = 3  # wrong answers before the solution may be seen; from the second on, a hint says more


class Quiz(ipw.VBox):  # type: ignore[misc]
    """One question after the other, from a seed on; each can be tried until it is right.

    Type an answer and press Enter, or choose and check. `question` is the one that is asked, `verdict` what the last
    answer was worth, `score` what the sitting came to: a record, so that a teacher can collect it. After a few wrong
    answers the solution can be shown; such a question counts as not solved.

    >>> quiz = Quiz("2.columns", seed=4)
    >>> quiz.answer(quiz.question.answer).right, quiz.score.line
    (True, '1 of 1 right, 1 at the first try')
    """

    seed = traitlets.Int()

    def __init__(self, what: str | int, seed: int = 0) -> None:
        self.what = what
        self.verdict: Verdict | None = None
        self._results: dict[tuple[str, int], Result] = {}
        self.asked, self.told, self.table = (_named(ipw.HTML(), part) for part in ("asked", "told", "score"))
        self.field = _named(ipw.Text(continuous_update=False, placeholder="answer, then Enter"), "field")
        self.field.observe(self._typed, "value")
        self.field.on_msg(self._entered)
        self.one = _named(ipw.ToggleButtons(description="Your answer"), "one")
        self.several = _named(ipw.VBox(), "several")
        self.check_button = _button("Check", "check this answer", self._check)
        self.next_button = _button("Next question", "go on to the next question", self.next)
        self.solution_button = _button("Show the solution", "give this question up", self.show_solution)
        buttons = ipw.HBox([self.check_button, self.solution_button, self.next_button])
        parts = [ipw.HTML(STYLE), self.asked, self.field, self.one, self.several, buttons, self.told, self.table]
        super().__init__(parts, seed=seed)
        _named(self, "quiz")
        self.observe(self._ask, "seed")
        self._ask()
        self.table.value = score_html(self.score)

    @property
    def score(self) -> Score:
        """What the sitting came to so far: one result for each question that was answered."""
        return Score(tuple(self._results.values()))

    def answer(self, said: Any) -> Verdict:
        """Answer the question, as typing and Enter do; one that can't be read, or is said again, is no further try."""
        before, self.verdict = self.verdict, check(self.question, said)
        again = before is not None and (before.question, before.read) == (self.question, self.verdict.read)
        if self.verdict.read is not None and not again:
            self._count(self.verdict.right)
        self._tell(self._more(self.verdict), "right" if self.verdict.right else "wrong")
        return self.verdict

    def next(self) -> None:
        """Go on to the next question: the next seed. What is typed while it is drawn would answer the wrong one."""
        self.field.disabled = self.next_button.disabled = True
        try:
            self.seed += 1
        finally:
            self.field.disabled = self.next_button.disabled = False
        self._entry.focus()

    def show_solution(self) -> None:
        """Give the question up: its answer, and what helps to find it. It stays unsolved in the score."""
        before = self._result or Result(self.question.lesson, *self._key, 0, False)
        self._record(before if before.right else replace(before, shown=True))
        self._tell(f"The answer is {right(self.question)}. {self.question.advice}".strip(), "waiting")

    @property
    def _entry(self) -> Any:
        """Where an answer is given."""
        if self._is("choices"):
            return self.several.children[0]
        return self.one if self._is("choice") else self.field

    @property
    def _key(self) -> tuple[str, int]:
        return self.question.kind, self.question.seed

    @property
    def _result(self) -> Result | None:
        return self._results.get(self._key)

    def _count(self, right: bool) -> None:
        """One try more; what comes after the right answer or the solution counts no more."""
        before = self._result or Result(self.question.lesson, *self._key, 0, False)
        self._record(before if before.right or before.shown else replace(before, tries=before.tries + 1, right=right))

    def _record(self, result: Result) -> None:
        self._results[self._key] = result
        self.table.value = score_html(self.score)
        may_be_shown = result.tries >= HINTS and not result.right
        self.solution_button.layout.display = None if may_be_shown else "none"

    def _more(self, verdict: Verdict) -> str:
        """The words of a verdict; from the second wrong answer on, the advice too."""
        advice, tried = verdict.question.advice, self._result
        if verdict.right or verdict.read is None or tried is None or tried.tries < 2 or advice in verdict.words:
            return verdict.words
        return f"{verdict.words} {advice}"

    def _ask(self, _: object = None) -> None:
        self.question: Question = question(self.what, self.seed)
        typed = self.question.form in LABELS
        self.asked.value = f"{question_html(self.question)}<p><i>{escape(self.question.asked)}</i></p>"
        self.field.value = ""
        self.field.description = LABELS.get(self.question.form, "")
        self._offer(self.question)
        for part, shown in ((self.field, typed), (self.one, self._is("choice")), (self.several, self._is("choices"))):
            part.layout.display = None if shown else "none"
        self.solution_button.layout.display = "none"
        self._tell("", "waiting")

    def _is(self, form: str) -> bool:
        return self.question.form == form

    def _offer(self, asked: Question) -> None:
        """The choices as buttons, of which one is pressed, or as boxes to tick."""
        self.one.options = asked.choices if self._is("choice") else ()
        self.one.value = None
        self.one.tooltips = asked.choices if self._is("choice") else ()
        boxes = (*asked.choices, NONE_OF_THESE) if self._is("choices") else ()
        self.several.children = [ipw.Checkbox(False, description=text, indent=False, tooltip=text) for text in boxes]

    def _typed(self, change: Mapping[str, Any]) -> None:
        """Enter was pressed, or the field was left: what stands there is the answer."""
        if change["new"].strip():
            self.answer(change["new"])
        else:
            self._tell(UNTYPED, "waiting")

    def _entered(self, _widget: Any, said: Mapping[str, Any], _buffers: Any) -> None:
        """Enter in an empty field changes nothing, so that no change is reported."""
        if said.get("event") == "submit" and not self.field.value.strip():
            self._tell(UNTYPED, "waiting")

    def _check(self) -> None:
        if self._is("choices"):
            self._check_ticked([box.description for box in self.several.children if box.value])
        elif self._is("choice"):
            self._tell(NOTHING, "waiting") if self.one.value is None else self.answer(self.one.value)
        elif self.field.value.strip():
            self.answer(self.field.value)
        else:
            self._tell(UNTYPED, "waiting")

    def _check_ticked(self, ticked: Sequence[str]) -> None:
        if not ticked:
            self._tell(NOTHING, "waiting")
        elif NONE_OF_THESE in ticked and len(ticked) > 1:
            self._tell(BOTH, "waiting")
        else:
            self.answer([text for text in ticked if text != NONE_OF_THESE])

    def _tell(self, words: str, state: str) -> None:
        """What the last answer was worth, read out by a screen reader as it changes."""
        mark = {"right": "✓ ", "wrong": "✗ ", "waiting": ""}[state]
        self.told.value = f"<div role='status' aria-live='polite' class='fcnviz-{state}'>{mark}{escape(words)}</div>"

    def __repr__(self) -> str:
        return f"{self.question}\n\n{self.score.line}"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """Where no widget can live, the question with what there is to choose, and the answer folded away."""
        still = f"<div class='fcnviz-quiz'>{self.asked.value}{_still(self.question)}</div>"
        return {**super()._repr_mimebundle_(**kwargs), "text/plain": repr(self), "text/html": still}


def _still(question: Question) -> str:
    choices = "".join(f"<li>{escape(text)}</li>" for text in question.choices)
    answer = f"{right(question)}. {question.advice}".strip()
    folded = f"<details><summary>The answer</summary><p>{escape(answer)}</p></details>"
    return f"<ul>{choices}</ul>{folded}" if choices else folded


def _named(widget: Any, part: str) -> Any:
    return widget.add_class(f"fcnviz-{part}")


def _button(text: str, told: str, action: Any) -> ipw.Button:
    button = ipw.Button(description=text, tooltip=told)
    button.on_click(lambda _: action())
    return button


STYLE = """<style>
.fcnviz-quiz {
  --bad: #cc3311; --bad-tint: rgba(204, 51, 17, .16); --good: #0077bb; --good-tint: rgba(0, 119, 187, .11);
  max-width: 900px; padding: 4px 0; font-size: 14px; overflow: hidden;
}
body[data-jp-theme-light=false] .fcnviz-quiz {--bad-tint: rgba(220, 60, 25, .38); --good-tint: rgba(0, 119, 187, .28)}
.fcnviz-quiz :is(.widget-html, .widget-html-content) {height: auto; font-size: inherit; line-height: 1.45}
.fcnviz-quiz p {margin: 4px 0}
.fcnviz-quiz pre {padding: 6px 10px; margin: 4px 0; background: var(--jp-layout-color2, #eee); overflow-x: auto}
.fcnviz-quiz .fcnviz-field {width: auto}
.fcnviz-quiz .fcnviz-field .widget-label {width: auto; margin-right: 10px}
.fcnviz-quiz .fcnviz-field input {max-width: 22em; font-size: inherit}
.fcnviz-quiz .widget-toggle-button {width: auto; max-width: 100%; height: auto; white-space: pre-wrap; text-align: left}
.fcnviz-quiz .jupyter-button {width: auto; padding: 0 12px; font-size: inherit}
.fcnviz-quiz .jupyter-button:focus-visible {outline: 2px solid var(--good); outline-offset: 1px}
.fcnviz-quiz .fcnviz-right {padding: 4px 12px; border-left: 6px solid var(--good); background: var(--good-tint)}
.fcnviz-quiz .fcnviz-wrong {padding: 4px 12px; border-left: 6px solid var(--bad); background: var(--bad-tint)}
.fcnviz-quiz table {border-collapse: collapse; font-size: 12.5px}
.fcnviz-quiz table :is(td, th) {padding: 1px 8px}
.fcnviz-quiz caption {white-space: nowrap; text-align: left; font-weight: 600}
</style>"""
