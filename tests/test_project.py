"""The project keeps its promises about itself: what it depends on, who imports whom, what its notebooks carry."""

import ast
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from rattler import MatchSpec, Version, VersionSpec

import fcnviz

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "fcnviz"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]
PLATFORMS = ["linux", "darwin", "win32"]

DEPENDENCIES = {"anywidget", "ipywidgets", "jupyterlab", "matplotlib", "numpy", "sympy", "torch", "torchinfo", "tqdm"}
COMES_WITH = {
    **dict.fromkeys(("IPython", "traitlets"), "ipywidgets"),
    **dict.fromkeys(("mistune", "nbclient", "nbformat", "pygments"), "jupyterlab"),
}

# A room imports only rooms above it. One exception: a Trace asks the table how it looks.
ROOMS = [
    *("errors", "progress", "records", "nested", "arithmetic", "coordinates"),
    *("diagnosis", "expressions", "requirements"),
    *("conv", "twin", "cast", "operations", "upsampling", "models", "batches"),
    *("calls", "counting", "doubt", "inputs", "recorder", "trace"),
    *("passes", "symbolic", "law", "modes", "lawdata", "templates"),
    *("geometry", "effective"),
    *("surgery", "equivalence", "patches", "gallery"),
    *("data", "training"),
    *("layout", "palette", "table", "handwork", "lawtable", "geometrytable", "figures", "livecurve"),
    *("exercises", "names", "windowsliders", "answersliders", "explorer", "site", "__main__"),
]
WITHOUT_TORCH = [
    *("errors", "records", "nested", "arithmetic", "coordinates"),
    *("diagnosis", "expressions", "requirements", "lawdata", "templates", "geometry"),
]
VIEWS = ["layout", "palette", "table", "handwork", "lawtable", "geometrytable", "figures", "livecurve", "windowsliders"]
DELEGATED = {
    ("records", "_diagnosis", "fcnviz.diagnosis"),
    ("records", "__str__", "fcnviz.table"),
    ("records", "_repr_html_", "fcnviz.table"),
    ("law", "__str__", "fcnviz.lawtable"),
    ("patches", "__str__", "fcnviz.handwork"),
    ("patches", "_repr_html_", "fcnviz.handwork"),
    ("equivalence", "__str__", "fcnviz.handwork"),
    ("equivalence", "_repr_html_", "fcnviz.handwork"),
    *((room, name, "fcnviz.handwork") for room in ("models", "modes") for name in ("__str__", "_repr_html_")),
    ("upsampling", "__str__", "fcnviz.handwork"),
    ("upsampling", "_repr_html_", "fcnviz.handwork"),
    ("law", "_repr_html_", "fcnviz.lawtable"),
    ("law", "_repr_latex_", "fcnviz.lawtable"),
    ("geometry", "__str__", "fcnviz.geometrytable"),
    ("geometry", "_repr_html_", "fcnviz.geometrytable"),
    ("coordinates", "__str__", "fcnviz.geometrytable"),
    ("effective", "__str__", "fcnviz.geometrytable"),
}


def tree(path):
    return ast.parse(path.read_text("utf-8"), path.name)


def imports(node, function=""):
    """Every import below a node, in functions too, as (function it stands in, dotted name)."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue  # names for a reader; nothing is imported when it runs
        if isinstance(child, ast.Import):
            yield from ((function, alias.name) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from ((function, name) for name in imported_from(child))
        else:
            yield from imports(child, child.name if isinstance(child, ast.FunctionDef) else function)


def imported_from(node):
    assert node.level == 0, "imports are absolute"
    return [f"fcnviz.{a.name}" for a in node.names] if node.module == "fcnviz" else [node.module]


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


MODULES = {path: room_of(path) for path in sorted(PACKAGE.rglob("*.py")) if room_of(path) != "__init__"}
IMPORTS = {
    (room, name)
    for path, room in MODULES.items()
    for function, name in imports(tree(path))
    if (room, function, name) not in DELEGATED
}


def rooms_reached_from(room):
    below = {name.split(".")[1] for importer, name in IMPORTS if importer == room and name.startswith("fcnviz.")}
    return {room}.union(*(rooms_reached_from(other) for other in below - {room}))


def imports_torch(room):
    return any(importer == room and name.split(".")[0] == "torch" for importer, name in IMPORTS)


# --- what it depends on


def test_the_dependencies_are_the_ones_we_know_of():
    assert {Requirement(line).name for line in PROJECT["dependencies"]} == DEPENDENCIES


def test_every_dependency_is_a_range_with_both_ends():
    for line in PROJECT["dependencies"]:
        assert {clause.operator for clause in Requirement(line).specifier} == {">=", "<"}, line


def test_what_the_package_and_the_notebooks_import_is_declared():
    own = {"fcnviz", *sys.stdlib_module_names}
    used = {name.split(".")[0] for _, name in IMPORTS}
    for path in NOTEBOOKS:
        for cell in code_cells(path):
            used |= {name.split(".")[0] for _, name in imports(ast.parse(without_magics(cell.source)))}
    assert {COMES_WITH.get(name, name) for name in used - own} <= DEPENDENCIES


def test_the_version_is_stated_once():
    assert PROJECT["dynamic"] == ["version"]  # the build reads it from the package
    assert Version(fcnviz.__version__) > Version("0")


def test_conda_and_pip_ask_for_the_same_packages():
    (pip,) = (entry["pip"] for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict))
    assert pip == PROJECT["dependencies"]


def test_conda_understands_every_spec():
    specs = [MatchSpec(entry) for entry in ENVIRONMENT["dependencies"] if isinstance(entry, str)]
    assert [spec.name.normalized for spec in specs] == ["python", "pip"]
    assert all(spec.build is None for spec in specs)  # "python 3.12.* typo" would read as a build
    assert ENVIRONMENT["channels"] == ["conda-forge", "nodefaults"]


def test_condas_python_is_one_that_the_package_accepts():
    (spec,) = (e for e in ENVIRONMENT["dependencies"] if isinstance(e, str) and e.startswith("python "))
    wanted = VersionSpec(MatchSpec(spec).version)
    matching = [v for v in (f"3.{minor}.1" for minor in range(30)) if wanted.matches(Version(v))]
    assert matching
    assert all(SpecifierSet(PROJECT["requires-python"]).contains(v) for v in matching)


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_each_direct_dependency_has_one_pin_within_its_range(python, platform):
    here = {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": platform}
    extras = PROJECT["optional-dependencies"]
    for wanted in map(Requirement, [*PROJECT["dependencies"], *extras["test"], *extras["lint"]]):
        if wanted.marker is None or wanted.marker.evaluate(here):
            (pin,) = pins(canonicalize_name(wanted.name), here)
            assert wanted.specifier.contains(pin), f"{wanted} against {pin}"


def test_constraints_are_exact_pins_that_any_machine_can_find():
    for pin in map(Requirement, constraints()):
        (clause,) = pin.specifier
        assert clause.operator == "=="
        assert pin.url is None
        assert "+" not in clause.version  # "+cpu" exists on some machines only
        assert "*" not in clause.version


def test_torch_is_pinned_for_every_machine_alike():
    assert [line for line in constraints() if line.startswith("torch=")] == ["torch==2.13.0"]


def constraints():
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return [line for line in lines if not line.startswith("#")]


def pins(name, here):
    found = [pin for pin in map(Requirement, constraints()) if canonicalize_name(pin.name) == name]
    return [next(iter(p.specifier)).version for p in found if p.marker is None or p.marker.evaluate(here)]


# --- who imports whom


def test_every_room_is_on_the_list():
    assert set(MODULES.values()) <= set(ROOMS)


def test_a_room_imports_only_rooms_above_it():
    for room, name in sorted(IMPORTS):
        if name.split(".")[0] == "fcnviz":
            other = name.split(".")[1]  # fails for a bare `import fcnviz`, which would go round in a circle
            assert other == room or ROOMS.index(other) < ROOMS.index(room), f"{room} imports {name}"


def test_facts_and_arithmetic_need_no_torch():
    for room in WITHOUT_TORCH:
        assert not any(map(imports_torch, rooms_reached_from(room))), room


def test_views_do_not_import_torch():
    assert not [room for room in VIEWS if imports_torch(room)]


def test_nothing_in_the_package_prints():
    for path in sorted(PACKAGE.rglob("*.py")):
        calls = [n.func for n in ast.walk(tree(path)) if isinstance(n, ast.Call)]
        assert not [f.lineno for f in calls if isinstance(f, ast.Name) and f.id == "print"], path


def test_the_public_names_are_sorted_and_a_dozen_at_most():
    assert fcnviz.__all__ == sorted(fcnviz.__all__)
    assert len(fcnviz.__all__) <= 12
    assert all(hasattr(fcnviz, name) for name in fcnviz.__all__)


IMPORT = """
import sys, torch
before = set(sys.modules)
import fcnviz
print(*{name.split(".")[0] for name in set(sys.modules) - before})
"""


def test_import_brings_nothing_that_torch_has_not_brought():
    """How long it takes is measured in benchmarks/trace.py."""
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) - sys.stdlib_module_names <= {"fcnviz", "torch", "numpy"}


def test_the_rooms_to_call_are_there_by_name_and_come_in_when_used():
    code = """
import fcnviz, sys
rooms = [name for name in dir(fcnviz) if name not in fcnviz.__all__ and not name.startswith("_")]
assert {"equivalence", "figures", "geometry", "patches"} <= set(rooms)
assert "fcnviz.patches" not in sys.modules and fcnviz.patches.run_patches and "matplotlib" not in sys.modules
assert all(getattr(fcnviz, name).__name__ == f"fcnviz.{name}" for name in rooms)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_that_is_not_there_is_refused_with_those_that_are():
    with pytest.raises(
        AttributeError, match="fcnviz has no 'patchs'; its rooms are .*figures, gallery, geometry, modes, patches"
    ):
        fcnviz.patchs  # noqa: B018


def test_help_names_every_room_to_call():
    rooms = [name for name in dir(fcnviz) if name not in fcnviz.__all__ and not name.startswith("_")]
    assert ", ".join(rooms) in " ".join(fcnviz.__doc__.split())


def test_trace_is_the_function_however_it_was_imported():
    code = "import fcnviz.trace, fcnviz; from fcnviz import trace; assert callable(trace) and trace is fcnviz.trace"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- what the notebooks carry

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def without_magics(source):
    return "\n".join(line for line in source.splitlines() if not line.lstrip().startswith(("%", "!")))
