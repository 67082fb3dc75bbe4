"""``tokka corpus build`` and ``tokka corpus look``: sources become documents, and what became of them."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tokka.cli.options import Overrides, RecipePath, RunFolder

if TYPE_CHECKING:
    from rich.console import Console

    from tokka.data.curation.look import Look

_SHOWN_CHARACTERS = 400


class Kind(StrEnum):
    """The executors of datatrove."""

    LOCAL = "local"
    SLURM = "slurm"
    RAY = "ray"


def build(
    recipe: RecipePath,
    out: Annotated[Path | None, typer.Option(help="Where results go; default: runs/<recipe name>.")] = None,
    executor: Annotated[
        Kind | None,
        typer.Option(help="Let an executor of datatrove spread the work; default: processes here."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Groups of files at once, for an executor; default: one a core.")
    ] = None,
    memory: Annotated[int, typer.Option(min=1, help="Gigabytes for each, on Slurm and Ray.")] = 2,
    partition: Annotated[str, typer.Option(help="Of Slurm.")] = "",
    time: Annotated[str, typer.Option(help="For one group of files, on Slurm.")] = "04:00:00",
    overrides: Overrides = None,
) -> None:
    """Read and curate the sources of a recipe; the same command goes on after a stop."""
    from tokka.pipeline.run import run_recipe
    from tokka.recipe.load import load_recipe
    from tokka.workspace.machine import usable_cores

    spread = None
    if executor is not None:
        from tokka.data.executors import Executor

        spread = Executor(executor.value, workers or usable_cores(), memory, partition, time)
    loaded = load_recipe(recipe, overrides or ())
    folder = out or Path("runs") / loaded.name
    run_recipe(loaded, root=recipe.resolve().parent, folder=folder, to="corpus", executor=spread)


def look(
    run: RunFolder,
    source: Annotated[str | None, typer.Option(help="Only this source.")] = None,
    count: Annotated[int, typer.Option(min=1, help="Documents of either kind, per source.")] = 10,
    seed: Annotated[int, typer.Option(help="Another one draws others.")] = 0,
    html: Annotated[Path | None, typer.Option(help="Write a web page instead.")] = None,
) -> None:
    """Show what each step of curation took, and documents that were kept and removed, side by side."""
    from rich.console import Console

    from tokka.data.curation.look import look as look_at
    from tokka.data.curation.look_html import page_of_looks
    from tokka.workspace.files import write_text
    from tokka.workspace.manifest import Manifest

    folders = [path for path in (run / "corpus").glob("*") if (path / "corpus.json").is_file()]
    looks = []
    for folder in sorted(path for path in folders if source in (None, path.name)):
        tokens = Manifest.read(run / "tokens" / folder.name)
        bytes_per_token = tokens.facts.get("bytes_per_token") if tokens else None
        after = run / "documents" / folder.name
        found = look_at(
            folder,
            count,
            after=after if Manifest.read(after) else None,
            seed=seed,
            bytes_per_token=bytes_per_token,
        )
        looks.append(found)
    if not looks:
        there = ", ".join(sorted(path.name for path in folders)) or "none"
        raise ValueError(
            f"{run} has no finished corpus{f' {source!r}' if source else ''}; there are: {there}"
        )
    if html is not None:
        write_text(html, page_of_looks(looks, f"Documents of {run}"))
        typer.echo(str(html))
        return
    for each in looks:
        _print(each, Console())


def _print(look: "Look", console: "Console") -> None:
    from rich.table import Table
    from rich.text import Text

    if look.rows:
        table = Table(title=f"{look.source}: what each step took", title_justify="left")
        table.add_column("step")
        for heading in ("documents", "share", "bytes", "tokens (est.)", "changed"):
            table.add_column(heading, justify="right")
        table.add_column("reasons")
        for row in look.rows:
            tokens = "" if row.tokens is None else f"{row.tokens:,}"
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in row.reasons.items())
            figures = (f"{row.documents:,}", f"{row.share:.2%}", f"{row.bytes:,}", tokens, f"{row.changed:,}")
            table.add_row(row.step, *figures, reasons)
        console.print(table)
    sides = Table(title=f"{look.source}: samples", title_justify="left", show_lines=True, expand=True)
    sides.add_column("kept", ratio=1)
    sides.add_column("removed", ratio=1)
    for index in range(max(len(look.kept), len(look.removed))):
        kept, removed = look.kept[index : index + 1], look.removed[index : index + 1]
        sides.add_row(
            *(Text(_harmless(f"{one.file}:{one.record}\n{one.text}")) for one in kept or ()),
            *(() if kept else (Text(""),)),
            *(
                Text.assemble(
                    (f"{one.step}: {one.reason} {one.detail}", "bold red"),
                    _harmless(f"  {one.file}:{one.record}\n{one.text}"),
                )
                for one in removed
            ),
        )
    console.print(sides)


def _harmless(text: str) -> str:
    """Return the beginning of a text without characters that would command a terminal."""
    shown = "".join(char if char.isprintable() or char == "\n" else " " for char in text[:_SHOWN_CHARACTERS])
    return f"{shown}…" if len(text) > _SHOWN_CHARACTERS else shown
