"""Prediction before revelation: questions drawn from a seed, answers checked against a real trace.

`question(2, seed=5)` draws a question of lesson 2, `check(question, "25 088")` judges an answer, `exercise(2)` asks in
a notebook, `answer_sheet(2, seeds)` is for the teacher. A wrong answer gets a hint that quotes it and says where it
comes from: slips are changed networks, traced like the right one.

In reading order: `records` (what a question is), `reading` (what a student types), `nets` (networks drawn at random),
`slips` (typical mistakes as networks), the lessons `sizes`, `linears`, `casting`, `maps`, `pixels`, `learning` and
`repairs`, `judging` and `course`; the views are `sheet` and `quiz`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fcnviz.exercises.course import LESSONS, kinds, question
from fcnviz.exercises.judging import check
from fcnviz.exercises.records import Mistake, Question, Result, Score, Verdict
from fcnviz.exercises.sheet import AnswerSheet, answer_sheet

if TYPE_CHECKING:
    from fcnviz.exercises.quiz import Quiz

__all__ = [
    "LESSONS",
    "AnswerSheet",
    "Mistake",
    "Question",
    "Result",
    "Score",
    "Verdict",
    "answer_sheet",
    "check",
    "exercise",
    "kinds",
    "question",
]


def exercise(what: str | int, seed: int = 0) -> Quiz:
    """Questions of a lesson or a kind under each other in a notebook, from this seed on, with a score.

    >>> quiz = exercise("1.weights", seed=3)
    >>> quiz.score.line
    '0 of 0 right, 0 at the first try'
    """
    from fcnviz.exercises.quiz import Quiz  # widgets are asked for only where they are shown

    return Quiz(what, seed)
