"""An answer → a verdict: right, or a hint that quotes what was said and where such an answer comes from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fcnviz.errors import InputError
from fcnviz.exercises.reading import read, shown
from fcnviz.exercises.records import Answer, Question, Verdict

HALF = 0.05 + 1e-9  # what rounding to one digit may move a number, and what the float holds of 0.05


def check(question: Question, said: Any) -> Verdict:
    """What an answer is worth: text as a student types it, or a number, a shape, a list of choices.

    >>> from fcnviz.exercises.course import question
    >>> one = question("2.columns", seed=4)
    >>> check(one, one.answer).right, check(one, "many").words
    (True, 'I could not read “many” as one whole number, such as 25088 or 25 088')
    """
    try:
        given = read(question, said)
    except InputError as unread:
        return Verdict(question, str(said), None, False, str(unread))
    if question.form == "shape":
        given = _without_batch(given, question.answers)
    right = accepts(given, question.answers)
    words = f"Right: {shown(given)}." if right else hint(question, given)
    return Verdict(question, str(said), given, right, words)


def accepts(given: Answer, answers: Sequence[Answer]) -> bool:
    """True for an answer that is right; of a number with a point, to the first digit after it."""
    if isinstance(given, float):
        return any(isinstance(answer, float) and abs(given - answer) <= HALF for answer in answers)
    return given in answers


def _without_batch(given: Answer, answers: Sequence[Answer]) -> Answer:
    wanted = {len(answer) for answer in answers if isinstance(answer, tuple)}
    if isinstance(given, tuple) and len(given) - 1 in wanted and given[0] == 1:
        return given[1:]
    return given


def hint(question: Question, given: Answer) -> str:
    """Where a wrong answer comes from, if that is known, and a fact of the trace if it is not."""
    start = f"You say {shown(given)}"
    if question.form == "choices":
        return f"{start}: {_wrongly(question, given)}. {_boxes(question, given)}"
    known = next((m.words for m in question.mistakes if _same(m.answer, given)), None)
    return f"{start}: {known}." if known else f"{start}: {_off(given, question)}. {question.advice}"


def _same(one: Answer, other: Answer) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other)
    return one == other


def _wrongly(question: Question, given: Answer) -> str:
    """What is wrong with the first choice that was taken or left wrongly."""
    assert isinstance(given, tuple) and isinstance(question.answer, tuple), "several choices"
    wrong = next(one for one in question.choices if (one in given) != (one in question.answer))
    return next(mistake.words for mistake in question.mistakes if mistake.answer == wrong)


def _boxes(question: Question, given: Answer) -> str:
    """How many of the choices are judged rightly, taken or left."""
    assert isinstance(given, tuple) and isinstance(question.answer, tuple), "several choices"
    right = sum((one in given) == (one in question.answer) for one in question.choices)
    return f"Of the {len(question.choices)} choices you judge {right} rightly."


def _off(given: Answer, question: Question) -> str:
    """How a wrong answer differs from the right one: in which direction, in which of its sizes."""
    right = question.answer
    if isinstance(given, tuple) and isinstance(right, tuple):
        return _sizes_off(given, right)
    if isinstance(given, int | float) and isinstance(right, int | float):
        return _number_off(given, question.answers)
    return "that is not it"


def _number_off(given: float, answers: Sequence[Answer]) -> str:
    numbers = [answer for answer in answers if isinstance(answer, int | float)]
    if given < min(numbers):
        return "that is too small" if len(numbers) == 1 else "that is smaller than each right answer"
    return "that is too large" if given > max(numbers) else "that lies between right answers"


def _sizes_off(given: Sequence[Any], right: Sequence[Any]) -> str:
    if len(given) != len(right):
        return f"that is {len(given)} size{'s' * (len(given) != 1)}, and the shape has {len(right)}"
    wrong = [i + 1 for i, (one, other) in enumerate(zip(given, right, strict=True)) if one != other]
    direction = "too small" if given[wrong[0] - 1] < right[wrong[0] - 1] else "too large"
    if len(wrong) == 1:
        return f"size {wrong[0]} of {len(right)} is {direction}, the rest is right"
    if len(wrong) == len(right):
        return f"none of the {len(right)} sizes is right; the first is {direction}"
    named = f"{', '.join(map(str, wrong[:-1]))} and {wrong[-1]}"
    return f"sizes {named} of {len(right)} are wrong; size {wrong[0]} is {direction}"
