"""The size, the lengths and the languages of sources, drawn."""

from collections.abc import Mapping
from pathlib import Path

from tokka.data.stats import BINS_PER_DOUBLING, CONFIDENCE_BINS, SourceStats
from tokka.workspace.files import whole_file


def stats_plot(sources: Mapping[str, SourceStats], path: Path) -> None:
    """Draw bytes, lengths and language confidence of each source to ``path``, a .png or .svg file.

    Raises ValueError where the file has another suffix.
    """
    from matplotlib.figure import Figure

    if path.suffix not in (".png", ".svg"):
        raise ValueError(f"{path}: a plot is written as .png or .svg")
    figure = Figure(figsize=(13, 2.5 + 0.35 * len(sources)), layout="constrained")
    sizes, lengths, confidence = figure.subplots(1, 3)
    bars = sizes.barh(list(sources), [found.bytes / 1e6 for found in sources.values()])
    sizes.bar_label(bars, fmt="%.1f", padding=3, fontsize=8)
    sizes.invert_yaxis()
    sizes.set_title("megabytes of text")
    for name, found in sources.items():
        if found.documents:
            at = [2 ** ((index + 0.5) / BINS_PER_DOUBLING) for index in range(len(found.lengths))]
            lengths.plot(at, [100 * count / found.documents for count in found.lengths], label=name)
        if found.confidence:
            at = [(index + 0.5) / CONFIDENCE_BINS for index in range(CONFIDENCE_BINS)]
            total = max(sum(found.confidence), 1)
            confidence.plot(at, [100 * count / total for count in found.confidence], label=name)
    lengths.set_xscale("log")
    lengths.set_title("% of documents by length in bytes")
    confidence.set_title("% of documents by probability of their language")
    for panel in (sizes, lengths, confidence):
        panel.spines[["top", "right"]].set_visible(False)
    handles, labels = lengths.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
    with whole_file(path) as aside:
        figure.savefig(aside, format=path.suffix[1:])
