"""The contracts hold, every module says what it is for, every error code is written down."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("app", "tasks", "pipelines", "templates", "portrait")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def test_import_contracts_hold() -> None:
    answer = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stdout


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_says_what_it_is_for(path: Path) -> None:
    purpose = ast.get_docstring(ast.parse(path.read_text()))
    assert purpose
    assert len(purpose.splitlines()[0]) > 10


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_is_of_a_size_one_can_read(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert len(path.read_text().splitlines()) <= 400
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {node.name: (node.end_lineno or node.lineno) - node.lineno + 1 for node in functions}
    assert {name: lines for name, lines in lengths.items() if lines > 50} == {}


def test_every_error_code_is_documented() -> None:
    raised = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
            if named and re.fullmatch(r"(\w+Error|_refused|_broken|Cancelled)", node.func.id) and node.args:  # type: ignore[union-attr]
                first = node.args[0]  # type: ignore[union-attr]
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
