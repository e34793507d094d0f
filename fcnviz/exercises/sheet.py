"""For the teacher: the questions that a class gets, with their answers, as text and as a page."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from fcnviz.exercises.course import LESSONS, kinds, question
from fcnviz.exercises.reading import shown
from fcnviz.exercises.records import Question, Result, Score
from fcnviz.layout import aligned, column_widths, escaped


@dataclass(frozen=True)
class AnswerSheet:
    """The questions of a lesson or kind for a row of seeds. `print` and a notebook show them with their answers."""

    what: str | int
    questions: tuple[Question, ...]

    def __str__(self) -> str:
        return text(self)

    def _repr_html_(self) -> str:
        return html(self)


def answer_sheet(what: str | int, seeds: Iterable[int]) -> AnswerSheet:
    """What is asked and what is right, for each seed: of a kind one question, of a lesson one of each kind.

    Student n of a class works with seed n: `exercise("2.columns", seed=n)` begins with the question of row n.

    >>> print(answer_sheet("3.parameters", seeds=[1, 2]))
    seed  kind          answer
       1  3.parameters  1 930
       2  3.parameters  1 802
    """
    names = kinds(what) if isinstance(what, int) else (what,)
    return AnswerSheet(what, tuple(question(name, seed) for seed in seeds for name in names))


def right(question: Question) -> str:
    """The answer as a teacher reads it; where many are right, the first and the last of each run of them.

    >>> from fcnviz.exercises.records import Question
    >>> right(Question(2, "2.made_for", 0, "", "", "number", answers=(32, 33, 34, 40)))
    '32–34 or 40'
    """
    if question.form == "decimal":
        return f"{question.answer:.1f}"
    if len(question.answers) == 1:
        return shown(question.answer)
    numbers = sorted(answer for answer in question.answers if isinstance(answer, int))
    runs = [[n for _, n in run] for _, run in groupby(enumerate(numbers), lambda at: at[1] - at[0])]
    return " or ".join(shown(run[0]) if len(run) == 1 else f"{shown(run[0])}–{shown(run[-1])}" for run in runs)


HEAD = ("seed", "kind", "answer")


def _row(question: Question) -> tuple[str, ...]:
    return str(question.seed), question.kind, right(question)


def text(sheet: AnswerSheet) -> str:
    """The sheet as a table for the terminal."""
    lines = [HEAD, *map(_row, sheet.questions)]
    widths = column_widths(lines)
    return "\n".join(aligned(line, widths, (0,)) for line in lines)


def html(sheet: AnswerSheet) -> str:
    """The sheet as a page: each question as it is asked, and its answer."""
    title = f"Lesson {sheet.what}: {LESSONS[sheet.what]}" if isinstance(sheet.what, int) else sheet.what
    head = "".join(f"<th scope='col' style='text-align:left'>{name}</th>" for name in ("seed", "question", "answer"))
    rows = "".join(map(_html_row, sheet.questions))
    return _table(f"{title}: answers", head, rows)


def _html_row(question: Question) -> str:
    cell = "<td style='text-align:left;vertical-align:top'>"
    asked = f"{escaped(question.kind)}<br>{question_html(question)}"
    return f"<tr>{cell}{question.seed}</td>{cell}{asked}</td>{cell}<b>{escaped(right(question))}</b></td></tr>"


def question_html(question: Question) -> str:
    """What is asked: the code, then the text, its lines kept."""
    code = f"<pre>{escaped(question.code)}</pre>" if question.code else ""
    return f"{code}<p>{escaped(question.text).replace(chr(10), '<br>')}</p>"


def score_html(score: Score) -> str:
    """A score as a table: a row for each question that was tried."""
    if not score.results:
        return "<p>Your score: no question is answered yet.</p>"
    names = ("question", "seed", "tries", "solved")
    head = "".join(f"<th scope='col' style='text-align:left'>{name}</th>" for name in names)
    cells = ((r.kind, r.seed, r.tries, _solved(r)) for r in score.results)
    rows = "".join(
        f"<tr>{''.join(f'<td style=text-align:left>{escaped(str(cell))}</td>' for cell in row)}</tr>" for row in cells
    )
    return _table(score.line, head, rows)


def _solved(result: Result) -> str:
    return "yes" if result.right else "shown" if result.shown else "not yet"


def _table(caption: str, head: str, rows: str) -> str:
    top = f"<caption>{escaped(caption)}</caption><thead><tr>{head}</tr></thead>"
    return f"<table>{top}<tbody>{rows}</tbody></table>"
