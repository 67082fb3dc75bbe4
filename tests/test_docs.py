"""Every command and every piece of Python in README and docs runs as printed.

Blocks run in order, page by page, in a folder that holds ``recipes/``, ``my_texts/`` and a finished
``runs/demo``. A block that cannot run here is preceded by ``<!-- not run: reason -->``.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from workshop import REPOSITORY

_BLOCK = re.compile(
    r"(?P<skip><!-- not run: .+? -->\n+)?```(?P<kind>bash|python)\n(?P<code>.*?)```", re.DOTALL
)
_PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def _blocks(page: Path) -> list[tuple[str, str]]:
    found = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    return [(match["kind"], match["code"]) for match in found if not match["skip"]]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory, small_run):
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(REPOSITORY / "recipes", folder / "recipes")
    shutil.copytree(small_run, folder / "runs" / "demo", symlinks=True)
    corpus = REPOSITORY / "src" / "tokka" / "demo" / "corpus"
    (folder / "my_texts").mkdir()
    shutil.copy(corpus / "finnish_a.jsonl", folder / "my_texts")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.stem)
def test_what_a_page_tells_to_type_works(page, workplace):
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HF_HUB_OFFLINE": "1",
    }
    for kind, code in _blocks(page):
        command = ["bash", "-euo", "pipefail", "-c", code] if kind == "bash" else [sys.executable, "-c", code]
        done = subprocess.run(
            command, cwd=workplace, env=environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{page.name}:\n{code}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.stem)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}, which is not there"
