"""A sentence learned at some sizes is the speaker's sentence at all of them, or there is no template."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcnviz import templates
from fcnviz.arithmetic import count
from fcnviz.templates import Choice, Number, Sentence, Sizes, learn

H, W = ("//", "H", 32), ("//", "W", 32)
SOME = [{"H": h, "W": w} for h in (33, 64, 95, 160, 224, 700, 1999) for w in (32, 77, 224, 301, 1568, 2048)]
MORE = [{"H": h, "W": w} for h in (40, 63, 255, 256, 512, 1024) for w in (32, 64, 225, 500, 2000)]
sizes = st.fixed_dictionaries({"H": st.integers(32, 4096), "W": st.integers(32, 4096)})


def wrong_count(at: Sizes) -> str:
    high, wide = at["H"] // 32, at["W"] // 32
    return f"512·{high}·{wide} = {count(512 * high * wide)} numbers (1x{512 * high * wide} and 25088x4096)"


def lacking(at: Sizes) -> str:
    low, narrow = at["H"] < 224, at["W"] < 224
    word = "small" if low and narrow else "low" if low else "narrow" if narrow else "large enough"
    return f"{word}: {at['H'] // 32}×{at['W'] // 32}"


@pytest.mark.parametrize("say", [wrong_count, lacking])
@given(at=sizes)
def test_a_template_says_at_any_size_what_the_speaker_says(say: Callable[[Sizes], str], at: Sizes) -> None:
    assert LEARNED[say].at(at) == say(at)


LEARNED = {say: learn(say, SOME, MORE, ["H", "W", H, W], [H, W]) for say in (wrong_count, lacking)}


def test_numbers_that_never_move_are_text() -> None:
    found = learn(wrong_count, SOME, MORE, ["H", "W", H, W])
    assert isinstance(found, Sentence)
    assert [part for part in found.parts if isinstance(part, str)] == [
        "512·",
        "·",
        " = ",
        " numbers (1x",
        " and 25088x4096)",
    ]


def test_a_number_is_written_as_the_speaker_writes_it_also_where_it_was_not_heard() -> None:
    found = learn(wrong_count, SOME, MORE, [H, W])
    assert found is not None and found.at({"H": 4096, "W": 4096}) == wrong_count({"H": 4096, "W": 4096})


def test_a_comparison_tells_which_words_are_said() -> None:
    found = learn(lacking, SOME, MORE, [H, W])
    assert isinstance(found, Choice)
    assert all(isinstance(one, Choice) for one in (found.yes, found.no))


def test_a_ratio_tells_which_words_are_said() -> None:
    say = lambda at: "tall" if at["H"] >= 3 * at["W"] else "flat"  # noqa: E731
    near = [{"H": 3 * w - d, "W": w} for w in (5, 50, 150) for d in (0, 1)]
    found = learn(say, [*SOME, *near[::2]], [*MORE, *near], ["H", "W"])
    assert found is not None
    assert [found.at({"H": h, "W": 100}) for h in (299, 300)] == ["flat", "tall"]


def test_what_no_formula_follows_has_no_template() -> None:
    assert learn(lambda at: str(pow(at["H"], 3, 101)), SOME, MORE, ["H", "W", H, W]) is None


def test_a_sentence_that_turns_out_wrong_further_on_is_learned_anew() -> None:
    say = lambda at: str(max(at["H"] // 32, 3))  # noqa: E731
    few = [{"H": 200, "W": 32}, {"H": 300, "W": 32}]
    further = [{"H": h, "W": 32} for h in range(32, 400, 7)]
    found = learn(say, few, further, [H])
    assert found is not None and [found.at(at) for at in further] == [say(at) for at in further]


def test_an_exception_heard_once_is_kept_to_its_size() -> None:
    say = lambda at: "just here" if at == {"H": 256, "W": 500} else "elsewhere"  # noqa: E731
    found = learn(say, SOME, MORE, ["H", "W"])
    assert found is not None and all(found.at(at) == say(at) for at in [*SOME, *MORE])


def test_minus_signs_belong_to_numbers_and_differences_do_not() -> None:
    say = lambda at: f"({at['H']} − 7) / 1 = {count(at['H'] - 7)}"  # noqa: E731
    near = [{"H": h, "W": 1} for h in range(1, 20)]
    found = learn(say, near, SOME, ["H"])
    assert found is not None and all(found.at(at) == say(at) for at in [*near, *SOME])


def test_as_json_a_template_is_strings_trees_and_choices() -> None:
    text = Choice(("<", "H", 7), Sentence(("low: ", Number("H", True))), Sentence((Number(("*", 2, "H"), False),)))
    assert json.loads(json.dumps(templates.to_json(text))) == {
        "if": ["<", "H", 7],
        "yes": ["low: ", {"#": "H"}],
        "no": [{"d": ["*", 2, "H"]}],
    }
