"""What a step of a run was, or will be, trained on."""

from pathlib import Path
from typing import Any

from tokka.pipeline.folder import noted_run
from tokka.workspace.files import read_json


def trace(folder: Path, step: int) -> list[dict[str, Any]]:
    """Return the documents in the batch of a step of the run in ``folder``, which may still be training.

    Returns:
        A piece of a document an entry: see :func:`tokka.data.trace.trace_batch`.

    Raises ValueError where there is no run, its mixture is not solved yet, or it has no such step.
    """
    from tokka.data.order import Part
    from tokka.data.trace import trace_step
    from tokka.tokenizer.load import load_tokenizer

    run = noted_run(folder)
    solved = run.of("mixture") / "mixture.json"
    if not solved.is_file():
        raise ValueError(f"the mixture of {folder} is not solved yet; `tokka run` it up to the stage mixture")
    training = run.recipe.training
    return trace_step(
        folder / "tokens",
        [Part(part["budgets"], part["tokens"]) for part in read_json(solved)["parts"]],
        load_tokenizer(run.of("tokenizer")),
        seed=run.recipe.seed,
        shape=(training.batch_sequences, training.sequence_length),
        step=step,
    )
