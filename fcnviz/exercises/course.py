"""The kinds of each lesson, and how a question is drawn from a kind and a seed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from random import Random

from fcnviz.errors import InputError
from fcnviz.exercises import casting, learning, linears, maps, pixels, repairs, sizes
from fcnviz.exercises.judging import accepts
from fcnviz.exercises.reading import shown
from fcnviz.exercises.records import Answer, Mistake, Question
from fcnviz.exercises.slips import Draft

LESSONS: Mapping[int, str] = {
    1: "A convolution does not care about size",
    2: "Where the Linear layer breaks",
    3: "A Linear layer is a convolution",
    4: "From one answer to a map",
    5: "Back to pixels",
    6: "Train small, test big",
    7: "Your own network",
}
_KINDS: Mapping[int, tuple[Callable[[Random], Draft], ...]] = {
    1: sizes.KINDS,
    2: linears.KINDS,
    3: casting.KINDS,
    4: maps.KINDS,
    5: pixels.KINDS,
    6: learning.KINDS,
    7: repairs.KINDS,
}
DRAWN = {f"{lesson}.{kind.__name__}": (lesson, kind) for lesson, drawn in _KINDS.items() for kind in drawn}
TRIES = 400  # draws until one is fair; more than a handful is rare


def kinds(lesson: int) -> tuple[str, ...]:
    """The names of a lesson's kinds of question.

    >>> kinds(1)[:2]
    ('1.shape_after', '1.shape_of_one')
    """
    if lesson not in LESSONS:
        raise InputError(f"lesson {lesson!r} was asked for; questions are there for {', '.join(map(str, LESSONS))}")
    return tuple(name for name, (of, _) in DRAWN.items() if of == lesson)


def question(what: str | int, seed: int) -> Question:
    """One question of a kind or of a lesson; the same for the same seed.

    A lesson's seeds go round its kinds, so that as many seeds in a row as it has kinds ask each of them once.

    Raises:
        InputError: no such lesson or kind; or a seed that is no whole number.

    >>> one = question("2.columns", seed=4)
    >>> one.form, one == question("2.columns", seed=4)
    ('number', True)
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InputError(f"a seed of {seed!r} was given; it is a whole number")
    if isinstance(what, int):
        of_lesson = kinds(what)
        return question(of_lesson[seed % len(of_lesson)], seed)
    if what not in DRAWN:
        raise InputError(f"{what!r} is no kind of question; there are {', '.join(DRAWN)}")
    lesson, kind = DRAWN[what]
    drafts = (kind(Random(f"{what} {seed} {attempt}")) for attempt in range(TRIES))
    return _asked(lesson, what, seed, next(draft for draft in drafts if fair(draft)))


def fair(draft: Draft) -> bool:
    """False where the answer could be read off the question, or where not one choice alone is right."""
    if draft.form == "choice":
        return len(draft.answers) == 1 and len(set(draft.choices)) == len(draft.choices)
    if draft.form == "choices":
        return len(draft.choices) > 0
    told = f"{draft.code}\n{draft.text}"
    return bool(draft.answers) and not any(stands_in(answer, told) for answer in draft.answers)


def stands_in(answer: Answer, told: str) -> bool:
    """True if an answer stands somewhere in a text as a number or shape of its own."""
    text = shown(answer).replace("\u202f", "")
    return re.search(rf"(?<![\w.]){re.escape(text)}(?!\w|\.\d)", told) is not None


def _asked(lesson: int, name: str, seed: int, draft: Draft) -> Question:
    return Question(
        lesson=lesson,
        kind=name,
        seed=seed,
        text=draft.text,
        code=draft.code,
        form=draft.form,
        choices=draft.choices,
        answers=draft.answers,
        mistakes=_once(draft),
        advice=draft.advice,
    )


def _once(draft: Draft) -> tuple[Mistake, ...]:
    """The wrong answers, each with the first way to it; slips that come to a right answer are none."""
    first: dict[Answer, Mistake] = {}
    for mistake in draft.mistakes:
        if not accepts(mistake.answer, draft.answers):
            first.setdefault(mistake.answer, mistake)
    return tuple(first.values())
