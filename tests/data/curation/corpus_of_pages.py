"""A source of many small files, with good pages and bad ones, and builds of it that may be killed."""

import hashlib
import json
import random
import sys
from pathlib import Path

from tokka.data import group
from tokka.data.corpus import build_corpus
from tokka.recipe.sources import Source

GOOD = (
    "Kaupunki {n} sijaitsee joen rannalla, ja siellä asuu noin {n} ihmistä, joista moni käy työssä muualla. "
    "Keskustassa on kirjasto, joka on avoinna myös viikonloppuisin, ja puhelinnumero on 040 123 {n}.\n"
)
BAD = "Etusivu\nPalvelut {n}\nYhteystiedot\nTuotteet\nAjankohtaista\nRekrytointi\nHinnasto\nBlogi\n"
ENGLISH = (
    "The town number {n} lies on the bank of a river, and a lot of people live there today, as they say.\n"
)


def write_pages(folder: Path, files: int = 8, pages: int = 60) -> None:
    chance = random.Random(0)
    folder.mkdir(parents=True)
    for part in range(files):
        texts = [
            chance.choice((GOOD, GOOD, GOOD + BAD, BAD, ENGLISH)).format(n=chance.randrange(1000, 9999))
            for _ in range(pages)
        ]
        lines = [json.dumps({"text": text, "url": "https://a.fi"}) for text in [*texts, "&auml;" + texts[0]]]
        (folder / f"{part:02d}.jsonl").write_text("\n".join([*lines, "broken"]) + "\n")


def pages_source() -> Source:
    return Source(path="in", language="fi", curate=True)


def build_pages(root: Path, folder: Path, workers: int = 1, executor=None) -> dict:
    return build_corpus(
        "pages", pages_source(), folder, root=root, heldout=0.1, workers=workers, executor=executor
    )


def content(folder: Path) -> dict[str, str]:
    """Return the digest of every file of a corpus."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
    }


if __name__ == "__main__":
    group._GROUP_BYTES = 1000
    build_pages(Path(sys.argv[1]), Path(sys.argv[2]), workers=2)
