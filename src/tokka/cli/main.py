"""The command line: one verb a capability. Every command imports what it needs when it is called."""

import os
import sys

import typer

from tokka.cli import (
    corpus,
    doctor,
    evaluate,
    export,
    launch,
    merge,
    models,
    recipe,
    rehearse,
    release,
    run,
    status,
    talk,
    tokenizer,
    train,
    verify,
)

app = typer.Typer(
    name="tokka",
    help="Raise a language model for your language: one recipe in, a released and documented model out.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # formatting help with rich would cost half of the start-up time
    pretty_exceptions_enable=False,
)

app.command()(run.run)
app.command()(train.train)
app.command()(launch.launch)
app.command()(status.status)
app.command()(rehearse.rehearse)
app.command()(recipe.new)
app.command()(doctor.doctor)
app.command()(talk.generate)
app.command()(talk.chat)
app.command()(evaluate.evaluate)
app.command()(merge.merge)
app.command()(export.export)
app.command()(release.report)
app.command()(release.upload)
groups = {
    "recipe": recipe.app,
    "corpus": corpus.app,
    "tokenizer": tokenizer.app,
    "models": models.app,
    "verify": verify.app,
}
for name, group in groups.items():
    app.add_typer(group, name=name)


def main() -> None:
    """Run the command line; an error a user can mend is one message, not a stack of calls."""
    try:
        app()
    except (ValueError, OSError, ImportError) as error:
        if os.environ.get("TOKKA_TRACEBACK"):
            raise
        print(f"tokka: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("\ntokka: stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
