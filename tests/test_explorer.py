"""The explorer says in JavaScript what Python says, at every size; and its page is safe, small and whole."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import traitlets
from javascript import asked
from nets import Functional, TutorialLeNet, UNet
from torch import Tensor, nn

from fcnviz import expressions, models, templates
from fcnviz.errors import InputError
from fcnviz.explorer import Explorer, save_page
from fcnviz.explorer import page as pages
from fcnviz.explorer.scene import Lane, frozen, lanes, scene
from fcnviz.explorer.still import still
from fcnviz.explorer.wording import sums
from fcnviz.figures import colours
from fcnviz.palette import rgb
from fcnviz.trace import trace

NETS: dict[str, tuple[Any, int, int]] = {
    "vgg16": (lambda: models.vgg16(), 3, 600),
    "vgg16 conv": (lambda: models.vgg16("conv"), 3, 600),
    "vgg16 adaptive": (lambda: models.vgg16("adaptive"), 3, 300),
    "two convolutions": (lambda: models.two_convolutions(), 3, 64),
    "lenet": (TutorialLeNet, 1, 80),
    "unet": (UNet, 3, 64),
    "functional": (Functional, 3, 64),
    "ceil": (
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.MaxPool2d(3, 2, ceil_mode=True), nn.Conv2d(8, 4, 3)),
        3,
        64,
    ),
}


class Rooted(nn.Module):
    """Cuts to the root of its width: symbols cannot follow that, a trace can."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x[..., : int(x.shape[3] ** 0.5)])


@pytest.fixture(scope="module", params=NETS)
def lane(request: pytest.FixtureRequest) -> tuple[Lane, dict[str, Any]]:
    make, channels, within = NETS[request.param]
    (found,) = lanes({request.param: make()}, channels, within)
    assert found.law is not None
    return found, scene([found], (within // 2, within // 2), within)


def some(found: Lane, number: int, seed: int = 0) -> list[dict[str, int]]:
    assert found.law is not None
    draw, within = random.Random(seed), found.law.within
    any_size = [{n: draw.randint(1, within[n]) for n in "HW"} for _ in range(number)]
    small = [{n: round(within[n] ** draw.random()) for n in "HW"} for _ in range(number)]
    return [*any_size, *small]


AT = """data.sizes.map(({H, W}) => {
  const at = (data.ready ??= new js.Lane(data.lane)).at(H, W), said = at.said;
  const values = (shape) => shape.map((size) => size.value);
  return {
    steps: [...at.steps].map(([name, step]) => [name, step.inputs.map(values), step.outputs.map(values), step.macs,
      step.row.sums === null ? null : js.spoken(step.row.sums, H, W)]),
    failing: at.failing,
    elsewhere: said?.at ?? null,
    words: said && [said.message, said.explanation, ...said.remedies]
      .map((text) => js.spoken(text, H, W)).filter((text) => text),
  };
})"""


# --- JavaScript against Python


def test_trees_are_worth_in_javascript_what_they_are_worth_in_python(tmp_path: Path) -> None:
    draw = random.Random(1)
    trees = [grown(draw, 4) for _ in range(4000)]
    sizes = [(draw.randint(1, 3000), draw.randint(1, 3000)) for _ in trees]
    ours = [value(tree, h, w) for tree, (h, w) in zip(trees, sizes, strict=True)]
    data = [[expressions.to_json(tree), h, w] for tree, (h, w) in zip(trees, sizes, strict=True)]
    theirs = asked("data.map(([tree, h, w]) => js.compiled(tree)(h, w))", data, tmp_path)
    known = [(one, other, tree) for one, other, tree in zip(ours, theirs, trees, strict=True) if one is not None]
    assert len(known) > 3000
    assert [tree for one, other, tree in known if other is None or one != pytest.approx(other, rel=1e-12)] == []


def grown(draw: random.Random, depth: int) -> expressions.Tree:
    """A tree of every operator there is."""
    if depth == 0 or draw.random() < 0.15:
        return draw.choice(["H", "W", draw.randint(-5, 40), draw.randint(1, 9)])
    head = draw.choice(["+", "-", "*", "//", "%", "/", "max", "min", "floor", "ceil", "trunc", "round", "if"])
    if head == "if":
        relation = draw.choice(list(expressions.RELATIONS))
        test: Any = (relation, grown(draw, depth - 1), grown(draw, depth - 1))
        test = draw.choice([test, ("not", test), ("and", test, ("≥", "H", 7)), ("or", test, ("=", "W", 3))])
        return ("if", test, grown(draw, depth - 1), grown(draw, depth - 1))
    number = 1 if head in ("floor", "ceil", "trunc", "round") else 3 if head in ("+", "*", "max", "min") else 2
    return (head, *(grown(draw, depth - 1) for _ in range(number)))


def value(tree: expressions.Tree, h: int, w: int) -> Any:
    """None where Python has no value, or one that a double does not hold exactly."""
    try:
        found = expressions.evaluate(tree, {"H": h, "W": w})
    except ZeroDivisionError:
        return None
    return found if abs(found) < 2**40 else None


def test_numbers_are_written_as_python_writes_them(tmp_path: Path) -> None:
    numbers = [0, 7, 999, 1000, 25088, 138357544, -1, -25088]
    texts = asked("data.map((number) => js.count(number))", numbers, tmp_path)
    assert texts == [templates.Number(number, True).at({}) for number in numbers]


def test_every_step_is_in_javascript_what_the_law_says(lane: tuple[Lane, dict[str, Any]], tmp_path: Path) -> None:
    found, shown = lane
    assert found.law is not None
    sizes = some(found, 500)
    there = asked(AT, {"lane": shown["lanes"][0], "sizes": sizes}, tmp_path)
    for at, one in zip(sizes, there, strict=True):
        steps = found.law.steps_at(**at)
        assert [step[:2] for step in one["steps"]] == [[s.name, list(map(list, s.input_shapes))] for s in steps]
        assert [step[3] for step in one["steps"]] == [s.macs for s in steps]
        path = found.law.path_at(**at)
        assert path is not None and one["failing"] == (steps[-1].name if path.failure else None)


def test_every_sum_is_the_arithmetic_of_its_step(lane: tuple[Lane, dict[str, Any]], tmp_path: Path) -> None:
    found, shown = lane
    assert found.law is not None
    sizes = some(found, 150, seed=2)
    there = asked(AT, {"lane": shown["lanes"][0], "sizes": sizes}, tmp_path)
    for at, one in zip(sizes, there, strict=True):
        assert [step[4] for step in one["steps"]] == [sums(step) for step in found.law.steps_at(**at)], at


def test_a_failure_is_told_in_pytorchs_words_and_ours(lane: tuple[Lane, dict[str, Any]], tmp_path: Path) -> None:
    found, shown = lane
    assert found.law is not None
    sizes = [at for at in some(found, 150, seed=3) if not found.law.accepts(**at)][:120]
    there = asked(AT, {"lane": shown["lanes"][0], "sizes": sizes}, tmp_path)
    for at, one in zip(sizes, there, strict=True):
        failure = found.law.at(**at).failure
        assert failure is not None
        message, explanation, *remedies = one["words"]
        assert one["elsewhere"] is None
        assert message == failure.message
        assert (explanation, remedies) == (failure.explanation, list(failure.remedies)), at


def test_a_map_of_any_proportions_is_explained_in_our_words(tmp_path: Path) -> None:
    """Which rectangle stands for 25 088 columns goes by height to width: 13×2 and 7×1 lie at a border."""
    (found,) = lanes({"net": models.vgg16()}, 3, 600)
    data = scene([found], (224, 224), 600)
    sizes = [{"H": 32 * h + 3, "W": 32 * w + 3} for h in range(1, 18) for w in range(1, 18) if h * w != 49]
    for at, one in zip(sizes, asked(AT, {"lane": data["lanes"][0], "sizes": sizes}, tmp_path), strict=True):
        failure = found.traced((at["H"], at["W"])).failure
        assert failure is not None
        assert one["words"][:2] == [failure.message, failure.explanation], at


def refused_at_large_sizes(found: Lane, number: int) -> list[dict[str, int]]:
    """Anywhere, and where two readings of 25 088 columns are as good: at 7 to 1, and where other channels divide it."""
    assert found.law is not None
    maps = [(7 * n, n) for n in range(1, 10)] + [
        (7, 56),
        (14, 28),
        (14, 14),
        (49, 2),
        (49, 4),
        (14, 7),
        (64, 9),
        (57, 8),
    ]
    maps += [(w, h) for h, w in maps]
    edges = [{"H": 32 * h + i, "W": 32 * w + j} for h, w in maps for i in (-1, 0, 31) for j in (-1, 0, 31)]
    sizes = [{"H": 228, "W": 1823}, {"H": 1591, "W": 90}, *edges, *some(found, number, seed=7)]
    inside = [at for at in sizes if max(at.values()) <= 2048]
    return [at for at in inside if not found.law.accepts(**at)]


def test_at_large_sizes_too_every_word_is_ours(pair: Any, tmp_path: Path) -> None:
    found, shown = pair[0][0], pair[1]["lanes"][0]
    sizes = refused_at_large_sizes(found, 1100)
    assert len(sizes) > 2000
    for at, one in zip(sizes, asked(AT, {"lane": shown, "sizes": sizes}, tmp_path), strict=True):
        failure = found.law.at(**at).failure
        assert one["words"] == [failure.message, failure.explanation, *failure.remedies], at


@pytest.mark.parametrize(("columns", "channels"), [(16 * 5 * 5, 16), (32 * 4 * 12, 32)])
def test_at_every_map_our_words_are_said_or_those_of_a_size_that_is_named(
    columns: int, channels: int, tmp_path: Path
) -> None:
    """A Linear made for 32·4·12 may be one for 16·8·12: every map whose cells divide its columns is asked about."""
    net = nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(16, channels, 3, padding=1), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(columns, 10)),
    )
    (found,) = lanes({"net": net}, 3, 128)
    assert found.law is not None
    lane = scene([found], (16, 16), 128)["lanes"][0]
    every = [{"H": 4 * h + 1, "W": 4 * w + 2} for h in range(1, 31) for w in range(1, 31)]
    sizes = [at for at in every if not found.law.accepts(**at)]
    for at, one in zip(sizes, asked(AT, {"lane": lane, "sizes": sizes}, tmp_path), strict=True):
        failure = found.law.at(
            **(at if one["elsewhere"] is None else dict(zip("HW", one["elsewhere"], strict=True)))
        ).failure
        assert failure is not None
        assert one["words"] == [failure.message, failure.explanation, *failure.remedies], at


def test_a_way_out_without_a_rule_takes_no_number_from_the_other_words(tmp_path: Path) -> None:
    """What PyTorch says of a flattened map without padding follows the sizes, whatever becomes of its remedies."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 6 * 6, 2))
    (found,) = lanes({"net": net}, 3, 64)
    data = scene([found], (8, 8), 64)
    sizes = [{"H": h, "W": w} for h, w in ((9, 9), (48, 48), (64, 5), (7, 60))]
    for at, one in zip(sizes, asked(AT, {"lane": data["lanes"][0], "sizes": sizes}, tmp_path), strict=True):
        failure = trace(net, (1, 3, at["H"], at["W"])).failure
        assert failure is not None
        assert one["words"][:2] == [failure.message, failure.explanation], at


def test_the_colours_of_the_plane_are_those_of_the_figure(lane: tuple[Lane, dict[str, Any]]) -> None:
    outcomes = lane[1]["lanes"][0]["outcomes"]
    ours = [[one["colour"] for one in outcomes if one["runs"] is runs] for runs in (True, False)]
    figures = colours(*map(len, ours))
    assert ours == [list(palette)[: len(part)] for palette, part in zip(figures, ours, strict=True)]


def test_the_outcomes_are_all_sizes_and_each_begins_where_it_is_said_to(lane: tuple[Lane, dict[str, Any]]) -> None:
    assert lane[0].law is not None
    region, outcomes = lane[0].law.region[1:, 1:], lane[1]["lanes"][0]["outcomes"]
    needed = np.maximum.outer(*[np.arange(1, len(region) + 1)] * 2)
    assert sum(one["count"] for one in outcomes) == region.size
    for one in outcomes:
        taken, (height, width) = np.isin(region, one["paths"]), one["first"]
        assert one["count"] == taken.sum() and taken[height - 1, width - 1]
        assert max(height, width) == needed[taken].min()


def test_a_solved_rule_refuses_exactly_the_sizes_that_stop_there_or_before(lane: tuple[Lane, dict[str, Any]]) -> None:
    assert lane[0].law is not None
    region, outcomes = lane[0].law.region[1:, 1:], lane[1]["lanes"][0]["outcomes"]
    high, wide = np.ix_(*[np.arange(1, len(region) + 1)] * 2)
    stops, before = [one for one in outcomes if not one["runs"]], np.zeros(region.shape, bool)
    for one in stops:
        taken, small = np.isin(region, one["paths"]), re.fullmatch(r"H or W < (\d+)", one["sizes"])
        assert small or "<" not in one["sizes"], one["sizes"]
        if small:
            refused = (high < int(small[1])) | (wide < int(small[1]))
            assert (taken == refused & ~before).all()
        before |= taken
    assert any("<" in one["sizes"] for one in stops) or not any("<" in one["rule"] for one in stops)


# --- the scene


@pytest.fixture(scope="module")
def pair() -> tuple[tuple[Lane, ...], dict[str, Any]]:
    shown = lanes(None, 3, 2048)
    return shown, scene(shown, (224, 224), 2048)


def test_vgg16_with_two_heads_is_shown_by_default(pair: Any) -> None:
    _, shown = pair
    assert [one["label"] for one in shown["lanes"]] == ["Linear head", "Convolutional head"]
    assert [one["label"] for one in shown["stages"]][:2] == ["features 0–4", "features 5–9"]
    assert sum(one["columns"] for one in shown["stages"]) == len(shown["columns"]) == 39


def test_presets_are_sizes_at_which_something_happens(pair: Any) -> None:
    found, shown = pair
    assert shown["presets"] == [[224, 224], [256, 256], [224, 256], [500, 375], [1568, 32]]
    verdicts = {tuple(one): [lane.law.accepts(H=one[0], W=one[1]) for lane in found] for one in shown["presets"]}
    assert set(map(tuple, verdicts.values())) == {(True, True), (False, True), (True, False)}


def test_a_network_that_runs_nowhere_near_is_offered_a_size_at_which_it_runs() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 5), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1568, 10))
    assert scene(lanes(net, 3, 300), (224, 224), 300)["presets"] == [[224, 224], [32, 32]]


def test_networks_that_share_no_step_stand_one_behind_the_other() -> None:
    nets = {"one": nn.ModuleDict({"b": nn.Conv2d(3, 4, 3)})["b"], "two": nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())}
    assert scene(lanes(nets, 3, 40), (24, 24), 40)["columns"] == ["Conv2d", "0", "1"]


def test_presets_of_another_network_are_its_own() -> None:
    shown = scene(lanes(TutorialLeNet(), 1, 80), (32, 32), 80)
    assert [32, 32] in shown["presets"] and [36, 36] in shown["presets"]
    assert max(max(one) for one in shown["presets"]) <= 80


def test_a_network_without_a_law_is_traced_at_the_sizes_offered() -> None:
    found = lanes(Rooted(), 3, 400)
    shown = scene(found, (20, 20), 400)
    (one,) = shown["lanes"]
    assert one["law"] is None and "paths" not in one and one["reason"]
    assert list(one["traces"]) == ["20,20"]
    assert one["traces"]["20,20"] == frozen(trace(found[0].model, (1, 3, 20, 20)))


class Odd(nn.Module):
    """A network that no law follows; at odd heights it takes a step that no preset shows."""

    def __init__(self) -> None:
        super().__init__()
        self.root, self.odd = Rooted(), nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.root(x)
        if x.shape[2] > 80:
            raise ValueError("too high")
        return self.odd(x) if x.shape[2] % 2 else x


def test_a_step_that_first_occurs_at_another_size_becomes_a_column() -> None:
    view = Explorer(Odd(), (20, 20), within=400, presets=[])
    before, chosen = view.scene["columns"], view.selected
    assert "odd" not in before
    view._asked(view, {"ask": 0, "height": 21, "width": 20}, [])
    assert set(view.scene["columns"]) - set(before) == {"odd"} and view.selected == chosen
    assert sum(stage["columns"] for stage in view.scene["stages"]) == len(view.scene["columns"])
    view._asked(view, {"ask": 0, "height": 81, "width": 20}, [])
    failure = trace(Odd(), (1, 3, 81, 20)).failure
    assert failure is not None and failure.step.name in view.scene["columns"]


def test_the_reason_why_there_is_no_law_is_said_once() -> None:
    (found,) = lanes(Rooted(), 3, 400)
    assert found.reason and not found.reason.startswith("no law")


@pytest.mark.parametrize("net", [nn.Sequential(nn.Conv2d(3, 8, 5), nn.Flatten(), nn.Linear(6272, 10)), Rooted()])
def test_a_shown_explorer_keeps_no_weights(net: nn.Module) -> None:
    (lane,) = Explorer(net, (32, 32), within=64)._lanes
    modules = [lane.model, *(module for _, module in lane.law.parts)] if lane.law else [lane.model]
    assert {tensor.device.type for module in modules for tensor in module.parameters()} == {"meta"}
    for size in ((32, 32), (40, 33)):
        assert lane.traced(size) == trace(net, (1, 3, *size))


def test_the_picture_colours_a_size_as_the_page_does(pair: Any) -> None:
    found, shown = pair
    drawn = base64.b64decode(still(found, shown["columns"], (224, 224)).image.split("base64,")[1][:-2]).decode()
    assert set(re.findall(r'fill="(#\w+)">25088<', drawn)) == {"#00609a"}
    assert set(re.findall(r'fill="(#\w+)">4096<', drawn)) == {"#8a2f78"}


@pytest.mark.parametrize("size", [32, 32.5, (32,), (32.5, 32), "32"])
def test_what_is_no_size_is_refused(size: Any) -> None:
    with pytest.raises(InputError, match="a size is two whole numbers"):
        Explorer(nn.Conv2d(3, 8, 3), size, within=64)


@pytest.mark.parametrize("wrong", [{}, [], 7, {"a": 1}, dict.fromkeys("abcd", nn.Identity())])
def test_what_is_no_network_is_refused(wrong: Any) -> None:
    with pytest.raises(InputError):
        lanes(wrong, 3, 64)


def test_a_size_outside_the_range_is_refused() -> None:
    with pytest.raises(InputError, match="the size 65×8 is not within 1 to 64"):
        scene(lanes(nn.Conv2d(3, 8, 3), 3, 64), (65, 8), 64)


# --- the widget


@pytest.fixture
def view() -> Explorer:
    net = nn.Sequential(nn.Conv2d(3, 8, 5), nn.Flatten(), nn.Linear(6272, 10))
    return Explorer(net, (32, 32), within=64)


def test_step_and_selected_follow_each_other(view: Explorer) -> None:
    view.step = 2
    assert view.selected == "2"
    view.selected = "1"
    assert view.step == 1


def test_height_and_width_can_be_observed_and_linked(view: Explorer) -> None:
    seen: list[int] = []
    view.observe(lambda change: seen.append(change["new"]), "height")
    view.height = 40
    assert seen == [40]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("height", 0, "from 1 to 64"), ("width", 65, "from 1 to 64"), ("step", 3, "0 to 2"), ("selected", "x", "0, 1, 2")],
)
def test_what_is_not_there_cannot_be_chosen(view: Explorer, name: str, value: Any, words: str) -> None:
    with pytest.raises(traitlets.TraitError, match=words):
        setattr(view, name, value)


def test_without_a_law_python_answers_with_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    net = Rooted()
    view, said = Explorer(net, (20, 20), within=400), list[Any]()
    monkeypatch.setattr(view, "send", said.append)
    view._asked(view, {"ask": 0, "height": 30, "width": 31}, [])
    assert said == [{"lane": 0, "height": 30, "width": 31, "law": frozen(trace(net, (1, 3, 30, 31)))}]


def test_as_text_it_is_a_table(view: Explorer) -> None:
    text = view._repr_mimebundle_()[0]["text/plain"]
    assert re.search(r"^0 +Conv2d 8×28×28$", text, re.M) and re.search(r"^2 +Linear 1×10$", text, re.M)
    assert "0x" not in text


def test_a_saved_notebook_holds_the_page_in_a_frame_and_an_image(view: Explorer) -> None:
    html = view._repr_mimebundle_()[0]["text/html"]
    assert 'sandbox="allow-scripts"' in html.replace("'", '"') and "allow-same-origin" not in html
    (image,) = re.findall(r'<div class=\'image\'><img alt="([^"]+)" src="data:image/svg\+xml;base64,', html)
    assert image == "An image of 32×32: Sequential gives 1×10."


# --- the page


@pytest.fixture(scope="module")
def page(pair: Any) -> str:
    found, shown = pair
    return pages.html(shown, still(found, shown["columns"], (224, 224)).html, "VGG16 twice")


def test_the_page_is_small(page: str) -> None:
    assert len(page.encode()) <= 250_000


def test_the_page_may_run_its_own_script_and_nothing_else(page: str) -> None:
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    assert "unsafe" not in policy and policy.startswith("default-src 'none'")
    for tag, words in (('script type="module"', "script-src"), ("style", "style-src")):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag.split()[0]}>", page, re.S)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{words} 'sha256-{digest}'" in policy


def test_the_page_names_no_other_place(page: str) -> None:
    assert set(re.findall(r"\w+://[\w./]+", page)) <= {"http://www.w3.org/2000/svg"}


def test_the_sources_hold_nothing_that_ends_a_script() -> None:
    for name in ("explorer.js", "page.js"):
        text = pages.source(name)
        assert "</script" not in text.lower() and "<!--" not in text
        assert not re.search(r"\beval\b|new Function|innerHTML|outerHTML|insertAdjacentHTML|document\.write", text)


EVIL = "</script><img src=x onerror=alert(1)>"


def test_an_image_has_the_channels_that_the_first_convolution_takes(tmp_path: Path) -> None:
    grey = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 2, 3))
    assert scene(lanes(grey, None, 16), (9, 9), 16)["channels"] == 1
    assert scene(lanes(nn.ReLU(), None, 16), (9, 9), 16)["channels"] == 3
    with pytest.raises(InputError, match="takes 1 channel"):
        lanes(grey, 3, 16)
    assert '"channels":1,' in save_page(tmp_path / "grey.html", grey, (9, 9), within=16).read_text("utf-8")


def test_a_page_for_no_folder_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder .*nowhere to write page.html to"):
        save_page(tmp_path / "nowhere" / "page.html", "no network")


def test_names_of_users_are_text_in_the_page(tmp_path: Path) -> None:
    net = nn.Sequential()
    net.add_module("<img onerror=alert(1)>", nn.Conv2d(3, 4, 3))
    path = save_page(tmp_path / "page.html", {EVIL: net}, (16, 16), within=32, title=EVIL)
    html = path.read_text("utf-8")
    assert EVIL not in html and "<img onerror" not in html
    (data,) = re.findall(r'id="scene">(.*?)</script>', html, re.S)
    assert json.loads(data)["lanes"][0]["label"] == EVIL


# --- colours that carry meaning, for eyes that lack a cone (Machado, Oliveira, Fernandes 2009, severity 1)

EYES = {
    "all cones": np.eye(3),
    "no red": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no green": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "no blue": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
FAR = 10  # ΔE of CIE 1976: 2.3 can just be told apart side by side


def themes() -> dict[str, dict[str, str]]:
    """The style sheet's own colours, light and dark."""
    blocks = re.findall(r"\.fcnviz-explorer \{([^}]*--space:[^}]*)\}", pages.source("explorer.css"))
    light, dark, notebook = (dict(re.findall(r"--([\w-]+): (#\w+|var\(.*?\))", block)) for block in blocks)
    assert {**notebook, "back": dark["back"]} == dark
    return {"light": {**light, "back": "#ffffff"}, "dark": {**light, **dark}}


def seen_by(eye: str, colour: str) -> np.ndarray:
    """CIE L*a*b* of a colour as an eye without one kind of cone sees it."""
    linear = EYES[eye] @ np.array([p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in rgb(colour)])
    x, y, z = np.cbrt(np.maximum(TO_XYZ @ np.clip(linear, 0, 1) / TO_XYZ.sum(1), (6 / 29) ** 3 / 8))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eye", EYES)
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        *(("space", "channel"), ("space", "bad"), ("channel", "bad"), ("space-fill", "channel-fill")),
        *(("space-fill", "bad-fill"), ("space-fill", "back"), ("bad-fill", "back"), ("channel-fill", "back")),
    ],
)
def test_colours_that_mean_something_else_look_different_to_every_eye(
    eye: str, theme: str, one: str, other: str
) -> None:
    colours_of = themes()[theme]
    assert np.linalg.norm(seen_by(eye, colours_of[one]) - seen_by(eye, colours_of[other])) > FAR


@pytest.mark.parametrize("eye", EYES)
def test_what_runs_and_what_stops_look_different_on_the_plane_to_every_eye(pair: Any, eye: str) -> None:
    for lane in pair[1]["lanes"]:
        runs, stops = ([o["colour"] for o in lane["outcomes"] if o["runs"] is runs] for runs in (True, False))
        assert min(np.linalg.norm(seen_by(eye, a) - seen_by(eye, b)) for a in runs for b in stops) > FAR
        light = [seen_by(eye, colour)[0] for colour in stops]
        assert light == sorted(light), "the later a network stops, the lighter"


def test_what_fails_is_marked_by_more_than_colour(pair: Any) -> None:
    found, shown = pair
    drawn = base64.b64decode(still(found, shown["columns"], (256, 256)).image.split("base64,")[1][:-2]).decode()
    assert "✗ Linear head" in drawn and "✓ Convolutional head" in drawn and drawn.count(">✗</text>") == 1
