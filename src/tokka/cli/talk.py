"""``tokka generate`` and ``tokka chat``: use a model."""

import contextlib
import sys
from collections.abc import Iterable
from typing import Annotated

import typer

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="Hugging Face folder, run folder, or id of the hub.")
]
Revision = Annotated[str | None, typer.Option(help="Revision of a run or hub id; default: the latest.")]
MaxTokens = Annotated[int, typer.Option(min=1, help="The most tokens to write.")]
Temperature = Annotated[float, typer.Option(min=0, help="0 always takes the likeliest token.")]
TopP = Annotated[
    float, typer.Option(min=0.01, max=1, help="Draw from the likeliest tokens that reach this probability.")
]
Seed = Annotated[int, typer.Option(min=0, help="The same seed gives the same text.")]


def generate(
    model: Model,
    prompt: Annotated[
        str, typer.Argument(metavar="PROMPT", help="The text to go on from; - reads standard input.")
    ],
    revision: Revision = None,
    max_tokens: MaxTokens = 256,
    temperature: Temperature = 0.8,
    top_p: TopP = 0.95,
    seed: Seed = 0,
    stop: Annotated[
        list[str] | None, typer.Option(help=r"End before this text; \n is a new line. Repeatable.")
    ] = None,
) -> None:
    """Continue a text, printed as it is written."""
    from tokka.evaluation.conversation import Sampling, Writer
    from tokka.evaluation.locate import locate

    text = sys.stdin.read().removesuffix("\n") if prompt == "-" else prompt
    stops = [written.replace("\\n", "\n") for written in stop or []]
    writer = Writer(locate(model, revision))
    _print(writer.continue_text(text, Sampling(max_tokens, temperature, top_p, seed), stops))


def chat(
    model: Model,
    revision: Revision = None,
    system: Annotated[str | None, typer.Option(help="What the model is told before the first turn.")] = None,
    max_tokens: MaxTokens = 256,
    temperature: Temperature = 0.8,
    top_p: TopP = 0.95,
    seed: Seed = 0,
) -> None:
    """Talk with a model. /reset begins anew, /quit or Ctrl-D leaves, Ctrl-C stops an answer."""
    from tokka.evaluation.conversation import Conversation, Sampling, TooLongError, Writer
    from tokka.evaluation.locate import locate

    conversation = Conversation(Writer(locate(model, revision)), system)
    sampling = Sampling(max_tokens, temperature, top_p, seed)
    typer.echo(f"{model} {conversation.note}.", err=True)
    typer.echo("/reset begins anew, /quit or Ctrl-D leaves, Ctrl-C stops an answer.", err=True)
    while (text := _ask()) not in (None, "/quit"):
        if text == "/reset":
            conversation.reset()
            typer.echo("A new conversation.", err=True)
        elif text:
            try:
                _print(conversation.say(text, sampling))
            except TooLongError as error:
                typer.echo(f"tokka: {error}; /reset begins anew", err=True)


def _print(pieces: Iterable[str]) -> None:
    """Print a text as it comes; Ctrl-C ends it."""
    with contextlib.suppress(KeyboardInterrupt):
        for piece in pieces:
            typer.echo(piece, nl=False)
    typer.echo()


def _ask() -> str | None:
    """Return the user's next line; None at the end of the input."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  (the line can then be edited, and earlier ones come back)
    while True:
        try:
            return input("> " if sys.stdin.isatty() else "").strip()
        except KeyboardInterrupt:  # drops the line, as in a shell
            typer.echo()
        except EOFError:
            typer.echo()
            return None
