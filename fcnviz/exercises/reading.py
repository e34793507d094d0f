"""What a student types → a shape, a number or a choice. Forgiving about signs and spaces, never about numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from fcnviz.errors import InputError
from fcnviz.exercises.records import Answer, Question

_SPACES = "\u00a0\u202f\u2009\u2007_'’"  # that may stand between groups of three digits
_WHOLE = r"\d{1,3}(?:[ ,]\d{3})+|\d+"
_BETWEEN = re.compile(r"\s*[x×X*·,;]\s*|\s+")


def read(question: Question, said: Any) -> Answer:
    """The answer that was given, in the form that the question asks for.

    Raises:
        InputError: nothing that could be read so; the sentence says what was typed and what is wanted.
    """
    readers: dict[str, Any] = {"shape": _shape, "number": _number, "decimal": _decimal}
    if question.form == "choice":
        return _choice(said, question.choices)
    if question.form == "choices":
        return _choices(said, question.choices)
    answer: Answer = readers[question.form](said)
    return answer


def shown(answer: Answer) -> str:
    """An answer as it is written: 4096×2×2, 25 088, 7.8.

    >>> shown((4096, 2, 2)), shown(25088), shown(7.8), shown(("224×224", "255×255")), shown(())
    ('4096×2×2', '25\\u202f088', '7.8', '224×224, 255×255', 'none')
    """
    if isinstance(answer, tuple):
        if all(isinstance(part, int) for part in answer) and answer:
            return "×".join(map(str, answer))
        return ", ".join(map(str, answer)) or "none"
    return (
        f"{answer:,}".replace(",", "\u202f")
        if isinstance(answer, int)
        else answer
        if isinstance(answer, str)
        else f"{answer:g}"
    )


def _plain(said: Any) -> str:
    text = str(said).strip()
    for space in _SPACES:
        text = text.replace(space, " ")
    return text.replace("−", "-")


def _unreadable(said: Any, wanted: str) -> InputError:
    return InputError(f"I could not read “{said}” as {wanted}" if str(said).strip() else f"Nothing typed yet: {wanted}")


def _shape(said: Any) -> tuple[int, ...]:
    if isinstance(said, Sequence) and not isinstance(said, str):
        said = "×".join(map(str, said))
    text = re.sub(r"^(?:torch\.)?Size", "", _plain(said)).strip("()[] ,")
    if re.search(r"[x×X*·]", text):  # then a comma or a space groups digits
        text = re.sub(r"(?<=\d)[ ,](?=\d{3}(?!\d))", "", text)
    sizes = _BETWEEN.split(text)
    if not all(re.fullmatch(r"\d+", size) for size in sizes):
        raise _unreadable(said, "a shape, such as 64×28×28 or (1, 64, 28, 28)")
    return tuple(map(int, sizes))


def _number(said: Any) -> int:
    text = _plain(said)
    if isinstance(said, float) and said == int(said):
        return int(said)
    if re.fullmatch(f"-?(?:{_WHOLE})", text) is None:
        raise _unreadable(said, "one whole number, such as 25088 or 25 088")
    return int(re.sub("[ ,]", "", text))


def _decimal(said: Any) -> float:
    text = _plain(said).rstrip("×x%").rstrip()
    if re.fullmatch(f"-?(?:{_WHOLE})(?:\\.\\d+)?", text):
        return float(re.sub("[ ,]", "", text))
    if re.fullmatch(r"-?\d+,\d+", text):
        return float(text.replace(",", "."))
    raise _unreadable(said, "a number, such as 7.8")


def _folded(text: str) -> str:
    return re.sub(r"[\s()]+", "", text.casefold().replace("x", "×"))


def _choice(said: Any, choices: Sequence[str]) -> str:
    """The choice that was named: in full, or by a beginning that no other choice has, such as the layer's number."""
    text = _folded(_plain(said))
    same = [choice for choice in choices if _folded(choice) == text]
    begins = [choice for choice in choices if text and re.match(rf"{re.escape(text)}(?![0-9.])", _folded(choice))]
    found = same or begins
    if len(found) != 1:
        raise _unreadable(said, f"one of: {'; '.join(choices)}")
    return found[0]


def _choices(said: Any, choices: Sequence[str]) -> tuple[str, ...]:
    parts: Iterable[Any] = re.split(r"[,;]|\band\b", said) if isinstance(said, str) else said
    named = [str(part).strip() for part in parts if str(part).strip()]
    if isinstance(said, str) and not named:
        raise _unreadable(said, f"a list of: {'; '.join(choices)}; or none")
    if [_folded(part) for part in named] == ["none"]:
        return ()
    taken = {_choice(part, choices) for part in named}
    return tuple(choice for choice in choices if choice in taken)
