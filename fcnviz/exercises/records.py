"""What a question and its verdict are: frozen facts. No torch, no widget, nothing drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

# A shape is a tuple of sizes, a choice a text, several choices a tuple of texts in the order in which they stood.
Answer = int | float | str | tuple[int, ...] | tuple[str, ...]
Form = Literal["shape", "number", "decimal", "choice", "choices"]

ASKED: Mapping[Form, str] = {
    "shape": "Answer with a shape: its sizes in order, × between them. Of a map, leave the batch out.",
    "number": "Answer with one whole number.",
    "decimal": "Answer with a number rounded to one digit after the point.",
    "choice": "Choose one.",
    "choices": "Choose all that are right; where none is, say so.",
}


@dataclass(frozen=True, slots=True)
class Mistake:
    """A wrong answer that people give, and how one gets there.

    Attributes:
        answer: the wrong answer; in a question of form "choices" the one choice that was taken or left wrongly.
        words: the way to it, as a sentence that goes on after "You say …: ".
    """

    answer: Answer
    words: str


@dataclass(frozen=True, slots=True)
class Question:
    """One question with one right answer, or several that are all accepted.

    Attributes:
        lesson, kind, seed: what it was drawn from; `question(kind, seed)` gives it again.
        text: what is asked; it never holds the answer.
        code: the network as PyTorch code to be pasted; "" where there is none.
        form: what an answer is: a shape, a number, one choice, several.
        choices: what is offered, in order; of the forms "choice" and "choices".
        answers: every right answer, as the trace of the network gives it; the usual one first.
        mistakes: wrong answers whose way is known.
        advice: a fact of the trace that helps with any other wrong answer.
    """

    lesson: int
    kind: str
    seed: int
    text: str
    code: str
    form: Form
    choices: tuple[str, ...] = ()
    answers: tuple[Answer, ...] = field(default=(), repr=False)
    mistakes: tuple[Mistake, ...] = field(default=(), repr=False)
    advice: str = field(default="", repr=False)

    @property
    def answer(self) -> Answer:
        """The right answer; where several are, the first of them."""
        return self.answers[0]

    @property
    def asked(self) -> str:
        """The form that an answer takes."""
        return ASKED[self.form]

    def __str__(self) -> str:
        offered = "\n".join(f"  {choice}" for choice in self.choices)
        return "\n\n".join(part for part in (self.code, self.text, offered, self.asked) if part)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer is worth.

    Attributes:
        question: what was asked.
        said: the answer as it was given.
        read: the answer as it was understood; None if it could not be read.
        right: True for a right answer.
        words: for a wrong answer a hint, which quotes it; for an unreadable one, what could not be read.
    """

    question: Question = field(repr=False)
    said: str
    read: Answer | None
    right: bool
    words: str


@dataclass(frozen=True, slots=True)
class Result:
    """One question of a sitting: how often it was tried, whether it was solved, or its solution asked for."""

    lesson: int
    kind: str
    seed: int
    tries: int
    right: bool
    shown: bool = False


@dataclass(frozen=True, slots=True)
class Score:
    """What a sitting came to, one result for each question answered at least once.

    >>> Score((Result(1, "shape", 3, 1, True), Result(1, "padding", 3, 2, True), Result(1, "stride", 3, 1, False))).line
    '2 of 3 right, 1 at the first try'
    """

    results: tuple[Result, ...] = ()

    @property
    def asked(self) -> int:
        return len(self.results)

    @property
    def right(self) -> int:
        return sum(result.right for result in self.results)

    @property
    def at_once(self) -> int:
        """Questions solved at the first try."""
        return sum(result.right and result.tries == 1 for result in self.results)

    @property
    def line(self) -> str:
        """The score in a few words."""
        return f"{self.right} of {self.asked} right, {self.at_once} at the first try"
