"""What the README says is true: its examples run, its files are there, its commands are those of the Makefile."""

import doctest
import re
from pathlib import Path

import fcnviz

ROOT = Path(__file__).parent.parent
FILE = ROOT / "README.md"
README = FILE.read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.M | re.S)
PROSE = re.sub(r"^```\w+\n.*?^```$", "", README, flags=re.M | re.S)
LINKS = re.findall(r"\]\(([^)]+)\)", PROSE)
CODE = [
    *re.findall(r"`([^`\n]+)`", PROSE),
    *(line for kind, text in BLOCKS if kind != "python" for line in text.split("\n")),
]


def blocks(kind):
    return [text for name, text in BLOCKS if name == kind]


def constraints_pin(name):
    (pin,) = [
        line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if line.startswith(f"{name}==")
    ]
    return pin


class Transcript(doctest.DocTestRunner):
    """Runs an example, with the names that those before it made, and writes down what really comes out."""

    def of(self, example, names):
        self.lines = []
        test = doctest.DocTestParser().get_doctest(re.sub(r"^\n", "", example, flags=re.M), {}, "", "", 0)
        test.globs = names
        self.run(test, clear_globs=False)
        return "".join(self.lines)

    def report_success(self, out, test, example, got):
        first, *more = example.source.splitlines(keepends=True)
        self.lines += [f">>> {first}", *(f"... {line}" for line in more), got]

    report_failure = report_success

    def report_unexpected_exception(self, out, test, example, exc_info):
        raise exc_info[1]


def test_the_examples_print_what_the_readme_shows(request):
    names = {}
    for example in blocks("python"):
        assert ">>>" in example
        real = Transcript().of(example, names)
        if request.config.getoption("--regenerate"):
            FILE.write_text(FILE.read_text("utf-8").replace(example, real), encoding="utf-8")
        else:
            assert example == real, "pytest --regenerate writes it anew"


def test_every_file_and_folder_that_is_linked_exists():
    files = [link for link in LINKS if not link.startswith(("#", "https:"))]
    assert files
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_every_link_inside_the_page_meets_a_heading():
    headings = [
        re.sub(r"[^\w -]", "", h).strip().lower().replace(" ", "-") for h in re.findall(r"^#+ (.*)$", PROSE, re.M)
    ]
    assert [link for link in LINKS if link.startswith("#") and link[1:] not in headings] == []


def test_a_link_to_a_file_shows_its_name():
    shown = re.findall(r"(?<!!)\[([^\]]+)\]\(([^#)]+)\)", PROSE)
    shown = [(text.replace("\\", ""), link) for text, link in shown]
    assert [pair for pair in shown if pair[0] != Path(pair[1]).name and not pair[1].startswith(pair[0])] == []


def test_every_file_named_in_code_exists():
    path = re.compile(r"[\w.\\/-]+\.(?:ipynb|yml|txt|toml|md|py)\b")
    named = {name.replace("\\", "/") for code in CODE for name in path.findall(code)}
    assert named >= {"notebooks/00_start.ipynb", "environment.yml", "constraints.txt"}
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_room_of_the_package_has_its_line():
    rooms = {
        f"fcnviz/{path.name}" for path in (ROOT / "fcnviz").iterdir() if path.suffix == ".py" or any(path.glob("*.py"))
    }
    assert rooms - set(re.findall(r"^- \[.+?\]\((.+?)\): .", README, re.M)) == set()


def test_every_notebook_has_its_line():
    notebooks = {f"notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert notebooks - set(LINKS) == set()


def test_the_commands_are_those_of_the_makefile():
    (verbs,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.M)
    named = {verb for code in CODE for verb in re.findall(r"^make (\w+)", code)}
    assert named == set(verbs.split()) - {"help"}


def test_the_conda_way_is_the_one_that_environment_yml_gives():
    first = (ROOT / "environment.yml").read_text("utf-8").splitlines()[0].removeprefix("# ")
    (conda,) = [text for text in blocks("sh") if "conda" in text]
    assert conda.splitlines()[:3] == first.split(" && ")


def test_the_pip_way_installs_torch_first_and_by_its_pin():
    (lines,) = [text.splitlines() for text in blocks("powershell")]
    (data,) = re.findall(r"^DATA := (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.M)
    assert [line.split(" install ")[1] for line in lines if " install " in line] == [
        f"-c constraints.txt {constraints_pin('torch')}",
        "-c constraints.txt -e .",
        f"--no-deps -c constraints.txt {data}",
    ]
    assert constraints_pin("torch").replace("==", " ") in PROSE


def test_python_and_the_public_names_are_those_of_the_package():
    (least,) = re.findall(r'requires-python = ">=(.*)"', (ROOT / "pyproject.toml").read_text("utf-8"))
    assert f"Python {least} or newer" in PROSE
    names = [code for code in CODE if re.fullmatch(r"[A-Z][a-z]\w*|trace", code)]
    assert set(names) - {"Makefile"} <= set(fcnviz.__all__)


def test_the_switches_of_the_browser_tests_are_real():
    switches = {name for code in CODE for name in re.findall(r"FCNVIZ_\w+", code)}
    conftest = (ROOT / "tests" / "browser" / "conftest.py").read_text("utf-8")
    assert switches == {name for name in ("FCNVIZ_BROWSER", "FCNVIZ_CHROMIUM") if name in conftest}


def test_the_license_is_the_one_declared():
    assert "MIT" in PROSE.split("## License")[1]
    assert "MIT License" in (ROOT / "LICENSE").read_text("utf-8")
    assert 'license = "MIT"' in (ROOT / "pyproject.toml").read_text("utf-8")
