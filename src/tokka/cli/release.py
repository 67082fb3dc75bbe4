"""``tokka report`` and ``tokka upload``: what a finished run shows and publishes."""

from pathlib import Path
from typing import Annotated

import typer

from tokka.cli.options import RunFolder


def report(
    run: RunFolder,
    out: Annotated[
        Path | None, typer.Option(help="Where to write it; default: report/report.html in the run.")
    ] = None,
) -> None:
    """Write the report of a run, finished or not, as one self-contained HTML file."""
    from tokka.release.report import write_report

    path = out or run / "report" / "report.html"
    write_report(run, path)
    typer.echo(path)


def upload(
    run: RunFolder,
    repo: Annotated[
        str | None, typer.Option(help="organisation/name; default: the recipe's release.repo.")
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Make the repository private if it is new.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be sent.")] = False,
) -> None:
    """Bring every revision of a release to the Hugging Face Hub; what is there already is not sent again."""
    from tokka.release.upload import upload as upload_release

    for plan in upload_release(run / "release", repo, private=private, dry_run=dry_run):
        typer.echo(plan)
