"""``tokka train``: train a prepared run; what each rank of torchrun calls."""

from tokka.cli.options import RunFolder


def train(run: RunFolder) -> None:
    """Train the model of a run whose mixture is ready, alone or as one of the ranks of torchrun.

    `tokka run RECIPE --out RUN --to ready` makes it ready, and finishes the line afterwards.
    """
    from tokka.pipeline.train import train_run

    train_run(run)
