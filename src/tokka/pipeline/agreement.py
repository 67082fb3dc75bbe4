"""Whether all ranks of a run have the same packages, the same recipe and the same data."""

import platform
from collections.abc import Mapping

from tokka.pipeline.folder import Run
from tokka.pipeline.stages.model import training_stage
from tokka.training.world import World
from tokka.workspace.files import digest_json
from tokka.workspace.manifest import Manifest, package_versions

_REMEDIES = {
    "package": "install the same packages on all nodes, best in one environment on a disk that all share",
    "file": "keep the run on a disk that all nodes share, and change nothing in it while ranks start",
}


def what_decides(run: Run) -> dict[str, str]:
    """Return what of this rank decides the result of ``run``'s training, by name: versions and digests."""
    manifests = {name: Manifest.read(run.of(name)) for name in training_stage(run.recipe).needs}
    return {
        **{f"package {name}": version for name, version in package_versions().items()},
        "file recipe.yaml": digest_json(run.recipe.model_dump(mode="json")),
        **{
            f"file {name}/manifest.json": found.digest if found else "none"
            for name, found in manifests.items()
        },
    }


def check_same(world: World, decides: Mapping[str, str]) -> None:
    """Raise ValueError, the same on every rank, where ``decides`` of a rank differs from the first rank's."""
    ranks = world.gather((platform.node(), dict(decides)))
    first_node, first = ranks[0]
    for rank, (node, theirs) in enumerate(ranks):
        for name in first | theirs:
            ours, other = first.get(name, "none"), theirs.get(name, "none")
            if ours != other:
                kind, _, what = name.partition(" ")
                raise ValueError(
                    f"rank {rank} on {node} has {what} {other[:12]}, and rank 0 on {first_node} has "
                    f"{ours[:12]}; {_REMEDIES[kind]}"
                )
