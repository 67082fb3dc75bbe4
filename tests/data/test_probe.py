import numpy as np
import pytest

from tokka.data.probe import make_probe
from tokka.recipe.tokenizer import TrainedTokenizer
from tokka.tokenizer.load import load_tokenizer
from tokka.tokenizer.train import train_tokenizer

FINNISH = [f"poro {number} juoksee tunturilla ja lumi satoi hiljaa" for number in range(60)]
ENGLISH = [f"the reindeer {number} runs and the snow fell" for number in range(60)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(TrainedTokenizer(vocab_size=300), {"fi": FINNISH, "en": ENGLISH}, folder)
    return load_tokenizer(folder)


TEXTS = {"finnish": FINNISH, "english": ENGLISH}


def test_a_probe_has_rows_of_every_source_packed_as_in_training(tokenizer):
    probe = make_probe(TEXTS, TEXTS, tokenizer, length=64, rows=10)
    assert probe.tokens.shape == (10, 65)
    assert probe.sources == ("finnish",) * 5 + ("english",) * 5
    for rows, texts in ((probe.tokens[:5], FINNISH), (probe.tokens[5:], ENGLISH)):
        expected = [token for text in texts for token in [*tokenizer.encode(text), tokenizer.eos_id][:32]]
        assert rows.flatten().tolist() == expected[: 5 * 65]


def test_a_long_document_does_not_crowd_out_the_others(tokenizer):
    texts = {"long": [" ".join(FINNISH), *ENGLISH]}
    probe = make_probe(texts, texts, tokenizer, length=64, rows=4)
    assert "reindeer" in tokenizer.decode(probe.tokens[0])


def test_what_frequencies_tell_is_their_cross_entropy(tokenizer):
    probe = make_probe(TEXTS, TEXTS, tokenizer, length=32, rows=8)
    counts = np.ones(tokenizer.size)
    for text in FINNISH:
        for token in [*tokenizer.encode(text), tokenizer.eos_id]:
            counts[token] += 1
    expected = np.mean([-np.log(counts[token] / counts.sum()) for token in probe.tokens[:4, 1:].flatten()])
    assert probe.unigram["finnish"] == pytest.approx(expected)


def test_a_source_with_little_text_gives_less_and_none_at_all_is_refused(tokenizer):
    texts = {"little": FINNISH[:6], "none": FINNISH[:1], "english": ENGLISH}
    probe = make_probe(texts, texts, tokenizer, length=64, rows=30)
    assert probe.sources == ("little",) + ("english",) * 10
    assert probe.unigram.keys() == {"little", "english"}
    with pytest.raises(ValueError, match="no source has the 65 tokens of text"):
        make_probe({"none": []}, {"none": []}, tokenizer, length=64, rows=4)
