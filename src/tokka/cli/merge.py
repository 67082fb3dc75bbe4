"""``tokka merge``: one model between two."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Method(StrEnum):
    """How two weights are merged."""

    LINEAR = "linear"
    SLERP = "slerp"


def merge(
    first: Annotated[str, typer.Argument(metavar="A", help="Hugging Face folder, run folder, or hub id.")],
    second: Annotated[str, typer.Argument(metavar="B", help="The same, of a model of the same shape.")],
    to: Annotated[Path, typer.Option(help="Folder of the merged model; replaced as a whole.")],
    weight: Annotated[float, typer.Option(min=0, max=1, help="Of B: 0 is A, 1 is B.")] = 0.5,
    method: Annotated[
        Method, typer.Option(help="Along the chord between the two, or the arc.")
    ] = Method.LINEAR,
) -> None:
    """Merge two models, such as a base and what was continued from it; any size, a tensor at a time."""
    from tokka.evaluation.locate import locate
    from tokka.release.merge import merge as merge_models

    facts = merge_models(locate(first), locate(second), to, weight=weight, method=method.value)
    typer.echo(f"{to}: {facts['parameters']:,} parameters")
