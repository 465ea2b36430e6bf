"""The contracts hold, every module says what it is for, names are plain words, every error code is written down."""

import ast
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("app", "tasks", "pipelines", "templates", "portrait")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


WORDS = """
told say said tell telling hang hung bring brought desk exam lesson lessons course pen stroke wear worn attend spending prints
twins door machinery office bell unheard wants wishes wished wish staff hooks figures offered workshop shelf trial trials bury
agreed pinned seal seals falter faltered tend tended tidy house sitter sitters sitting sittings seat seated seating went gone
peek hint hints way ways look looks learned lent seen shown asked whole kept casting
"""
RETIRED = set(WORDS.split())
"""Words that once named things here and that nobody from outside would search for."""
PUBLIC = {
    "_paint_office": "paints the backdrop that is an office",
    "mark_seen": "as the field `seen` of a job and its route",
}
"""Names of classes, functions and modules that keep such a word, with the reason.

What others see keeps such words too: the JSON fields `wants`, `hints`, `wish`, `learned`, `look`, `looks`, `offered` and
`sitter`, the options `--hint` and `--look`, the abilities `base:…:hint:…` and `base:…:look:…`, the job kind `look`, settings
`train.exam.*`, and the app's addresses `board` and `machinery`.
"""


@cache
def tree_of(path: Path) -> ast.Module:
    """A module, parsed."""
    return ast.parse(path.read_text())


def contracts(folder: Path) -> str:
    """What the import linter says of the packages in a folder."""
    command = [
        str(Path(sys.executable).parent / "lint-imports"),
        "--no-cache",
        "--config",
        str(ROOT / "pyproject.toml"),
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env={"PYTHONPATH": str(folder)}).stdout


def test_import_contracts_hold() -> None:
    report = contracts(ROOT)
    assert " 0 broken" in report, report


def test_a_contract_that_is_broken_is_found_in_each_package(tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    broken = {
        "portrait/arrays.py": "import portrait.idphotos",
        "pipelines/settings.py": "import pipelines.build",
        "templates/schema.py": "import templates.packs",
        "tasks/jobs.py": "import tasks.api.app",
        "app/words/translation.py": "import app.people.styles",
    }
    for name, line in broken.items():
        file = tmp_path / name
        file.write_text(f"{file.read_text()}\n{line}\n")
    (tmp_path / "pipelines" / "diffusion" / "unlisted.py").write_text('"""A module that no contract lists."""\n')
    report = contracts(tmp_path)
    assert {line.removesuffix(" BROKEN") for line in report.splitlines() if line.endswith(" BROKEN")} >= {
        "No circle anywhere",
        "Inside diffusion",
        *(f"Inside {package}" for package in PACKAGES),
    }, report


def test_a_folder_has_at_most_15_modules() -> None:
    counted = Counter(
        path.parent.relative_to(ROOT)
        for path in MODULES
        if path.name not in ("__init__.py", "__main__.py") and "migrations" not in path.parts
    )
    assert {str(folder): number for folder, number in counted.items() if number > 15} == {}


def test_a_module_is_worth_a_file() -> None:
    short = [
        str(path.relative_to(ROOT))
        for path in MODULES
        if path.name not in ("__init__.py", "__main__.py")
        and "migrations" not in path.parts
        and len(path.read_text().splitlines()) < 20
    ]
    assert short == []


def words_of(name: str) -> set[str]:
    """`LatentsOfSample` and `latents_of_sample` as words."""
    return set(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().strip("_").split("_"))


def named(path: Path) -> Iterator[tuple[str, str]]:
    """What a module, its classes and functions are called, each with the text that is looked at."""
    tree = tree_of(path)
    yield str(path.relative_to(ROOT)), path.stem
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node.name


def test_no_name_uses_a_retired_word() -> None:
    modules = [path for path in MODULES if "migrations" not in path.parts]
    found = [
        where for path in modules for where, name in named(path) if words_of(name) & RETIRED and name not in PUBLIC
    ]
    assert found == []


def test_no_module_begins_with_a_retired_word() -> None:
    modules = [path for path in MODULES if "migrations" not in path.parts]
    beginnings = {path: (ast.get_docstring(tree_of(path)) or "").splitlines()[0] for path in modules}
    found = {
        str(path.relative_to(ROOT)): sorted(words)
        for path, line in beginnings.items()
        if (words := set(re.findall(r"[a-z]+", line.lower())) & RETIRED)
    }
    assert found == {}


def test_modules_say_what_they_are_for() -> None:
    purposes = {path: ast.get_docstring(tree_of(path)) or "" for path in MODULES}
    assert [str(path) for path, purpose in purposes.items() if len(purpose.split("\n")[0]) <= 10] == []


def test_modules_and_functions_are_of_a_size_one_can_read() -> None:
    assert [str(path) for path in MODULES if len(path.read_text().splitlines()) > 400] == []
    functions = [
        (path.relative_to(ROOT), node.name, (node.end_lineno or node.lineno) - node.lineno + 1)
        for path in MODULES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert [f"{path} {name}: {lines} lines" for path, name, lines in functions if lines > 50] == []


DOORS = {"app/terminal/errors.py", "tasks/queue/runner.py", "tasks/api/middleware.py"}
"""Where errors leave the program: a command, a job, a request."""


def test_only_doors_catch_every_error() -> None:
    found = []
    for path in MODULES:
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            names = (
                {each.id for each in ast.walk(node.type) if isinstance(each, ast.Name)} if node.type else {"Exception"}
            )
            passes_on = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
            if names & {"Exception", "BaseException"} and not passes_on:
                found.append(str(path.relative_to(ROOT)))
    assert set(found) == DOORS


def test_nothing_is_global() -> None:
    assert [path for path in MODULES if any(isinstance(node, ast.Global) for node in ast.walk(tree_of(path)))] == []


def test_every_error_code_is_documented() -> None:
    raised = set()
    for path in MODULES:
        for node in ast.walk(tree_of(path)):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if re.fullmatch(r"(\w+Error|_refused|_broken|Cancelled)", node.func.id) and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and re.fullmatch(r"[a-z]+(_[a-z]+)*", str(first.value)):
                    raised.add(first.value)
    documented = set(re.findall(r"^\| `([a-z_]+)`", (ROOT / "docs" / "errors.md").read_text(), re.M))
    assert raised - documented == set()


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys; sys.argv = ['portrait', '--help']\n"
        "import app.cli\n"
        "try: app.cli.main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('numpy', 'cv2', 'PIL', 'torch', 'mediapipe') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert answer.stdout.strip().splitlines()[-1] == "[]", answer.stderr


def test_project_speaks_of_itself_alone() -> None:
    foreign = re.compile(r"/(?:work|root)/|pythonhosted|debian\.org/|npmjs")
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split("\n")
    texts = [ROOT / name for name in files if Path(name).suffix in {".py", ".md", ".toml", ".txt", ".j2", ".html"}]
    assert [
        str(path)
        for path in texts
        if path.exists() and path.name != "test_house.py" and foreign.search(path.read_text())
    ] == []
