"""With the defaults good Finnish survives, and boilerplate does not."""

import gzip
import json
from pathlib import Path

import pytest

pytest.importorskip("datatrove")

from tokka.data.curation.chain import Curator, Plan, Removed
from tokka.recipe.curation import Curation

BOILERPLATE = Path(__file__).with_name("boilerplate_fi.jsonl")
ARTICLE = (
    "Eduskunta hyväksyi tiistaina lain, jonka mukaan kunnat vastaavat jatkossa itse asuinympäristöjensä "
    "liikenneturvallisuudesta. Laki tulee voimaan ensi vuoden alussa, ja sen vaikutuksia arvioidaan kolmen "
    "vuoden kuluttua. Liikenneministerin mukaan uudistus ei lisää kuntien kustannuksia, mutta oppositio on "
    "eri mieltä. ”Rahat on otettava jostakin”, sanoi valiokunnan puheenjohtaja.\n"
)


def texts(shared_data, name):
    with gzip.open(shared_data / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


def outcomes(documents, **section):
    curator = Curator(Plan(Curation.model_validate(section), "fi", Path()))
    return [curator.curate([text.encode()]) for text in documents]


def share_kept(documents):
    return sum(not isinstance(outcome, Removed) for outcome in outcomes(documents)) / len(documents)


def test_wikipedia_survives(shared_data):
    pages = texts(shared_data, "text/fi/wikipedia_fi_train.jsonl.gz")
    articles = [
        page for page in pages if not page.split("\n")[0].rstrip().endswith(":")
    ]  # others list meanings
    assert len(articles) > 960
    assert share_kept(articles) >= 0.975


def test_news_and_other_genres_survive(shared_data):
    assert share_kept(texts(shared_data, "text/fi/turku_ner_docs.jsonl.gz")) >= 0.97


@pytest.mark.parametrize("between", [" ", "\n"], ids=["one paragraph", "a line a sentence"])
def test_government_finnish_with_its_long_words_survives(shared_data, between):
    sentences = texts(shared_data, "text/fi/eduskunta_vkk_train.jsonl.gz")[:8000]
    answers = [between.join(sentences[start : start + 8]) for start in range(0, len(sentences), 8)]
    assert share_kept(answers) >= 0.99


def test_boilerplate_does_not():
    pages = [json.loads(line) for line in BOILERPLATE.read_text(encoding="utf-8").splitlines()]
    assert len(pages) >= 36
    found = zip(pages, outcomes([page["text"] for page in pages]), strict=True)
    assert not [page["kind"] for page, outcome in found if not isinstance(outcome, Removed)]


def test_other_languages_do_not(shared_data):
    with gzip.open(shared_data / "parallel/ud_pud_en_fi.jsonl.gz", "rt", encoding="utf-8") as lines:
        english = [json.loads(line)["en"] for line in lines]
    estonian = (
        "Riigikogu võttis teisipäeval vastu seaduse, mille kohaselt vastutavad omavalitsused ise selle eest."
    )
    swedish = (
        "Riksdagen antog på tisdagen en lag enligt vilken kommunerna själva ansvarar för trafiksäkerheten."
    )
    pages = [" ".join(english[start : start + 10]) for start in range(0, 1000, 10)] + [
        estonian * 3,
        swedish * 3,
    ]
    found = outcomes(pages)
    assert found == [Removed("language", "other_language")] * len(pages)


def test_boilerplate_around_an_article_is_taken_from_it():
    page = f"Etusivu\nJaa Facebookissa\n{ARTICLE}Käytämme evästeitä. Hyväksy kaikki evästeet.\nLue lisää »"
    [[kept]] = outcomes([page])
    assert kept.decode() == ARTICLE.strip()


def test_an_article_about_cookies_keeps_its_paragraphs():
    about = (
        ARTICLE.replace("\n", " ")
        + "Samalla säädettiin, että verkkosivuston on kysyttävä, saako se käyttää evästeitä."
    )
    assert outcomes([about]) == [[about.encode()]]


def test_thresholds_of_the_recipe_go_before_those_of_the_language():
    [kept] = outcomes([ARTICLE])
    assert not isinstance(kept, Removed)
    assert outcomes([ARTICLE], quality={"min_words": 500}) == [Removed("gopher", "too_few_words")]
    verse = "Mieleni minun tekevi,\naivoni ajattelevi\nlähteäni laulamahan,\nsaa'ani sanelemahan,\n" * 5
    assert isinstance(outcomes([verse])[0], Removed)
    assert outcomes([verse], quality=False) == [[verse.encode()]]
