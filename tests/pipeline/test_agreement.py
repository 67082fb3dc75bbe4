"""Ranks with other packages, recipes or data than the first are refused."""

import pytest
from agreement_programs import refusal
from ranks import on_ranks
from small_line import recipe

from tokka.pipeline.agreement import what_decides
from tokka.pipeline.folder import Run
from tokka.workspace.manifest import package_versions

FIRST = {"package torch": "2.13.0", "package numpy": "2.1.0", "file recipe.yaml": "ab" * 32}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"package torch": "2.12.0"}, ("has torch 2.12.0, and rank 0 on", "has 2.13.0; install the same")),
        ({"package datasets": "4.0"}, ("has datasets 4.0, and rank 0 on", "has none; install the same")),
        ({"file recipe.yaml": "cd" * 32}, ("has recipe.yaml cdcdcdcdcdcd, and", "on a disk that all nodes")),
    ],
)
def test_all_ranks_refuse_together_and_name_rank_and_package(change: dict[str, str], said: tuple[str, str]):
    found = on_ranks(3, refusal, FIRST, FIRST | change)
    assert len(set(found)) == 1
    assert found[0].startswith("rank 1 on ")
    assert all(part in found[0] for part in said)


def test_ranks_alike_go_on():
    assert on_ranks(2, refusal, FIRST, FIRST) == ["", ""]


def test_packages_recipe_and_data_decide(tmp_path):
    found = what_decides(Run(recipe(), tmp_path, tmp_path / "run"))
    assert found["package torch"] == package_versions()["torch"]
    assert found["file mixture/manifest.json"] == found["file tokens/finnish/manifest.json"] == "none"
    other = what_decides(Run(recipe(layout={"data": 2}, micro_batch=4), tmp_path, tmp_path / "run"))
    assert {name for name in found if found[name] != other[name]} == {"file recipe.yaml"}
