"""What the steps of curation take is counted, to the byte; lists and models of the user's are gone by."""

import random
from pathlib import Path

import pytest

pytest.importorskip("datatrove")

from tokka.data.curation.chain import Curator, Plan, Removed, merge_tolls
from tokka.data.curation.identify import Identifier, bundled_model
from tokka.recipe.curation import Curation

GOOD = (
    "Kaupunki sijaitsee joen rannalla, ja siellä asuu noin kymmenen tuhatta ihmistä, joista moni käy työssä "
    "naapurikunnassa. Keskustassa on kirjasto, joka on avoinna myös viikonloppuisin.\n"
)
MENU = "Etusivu\nPalvelut\nYhteystiedot\nTuotteet\nAjankohtaista\nRekrytointi\nHinnasto\nBlogi\n"
COOKIES = "Käytämme evästeitä.\nHyväksy kaikki evästeet.\n"
ENGLISH = "The town lies on the bank of a river, and about ten thousand people live there today.\n"


def curator(root=Path(), of="fi", **section):
    return Curator(Plan(Curation.model_validate(section), of, root))


def documents(count):
    chance = random.Random(0)
    parts = [GOOD, MENU, COOKIES, ENGLISH, "Soita 040 123 4567.\n", "hyv&auml;&auml; yötä kaikille\n", "\n"]
    return ["".join(chance.choices(parts, k=chance.randrange(1, 6))).encode() for _ in range(count)]


@pytest.mark.parametrize("per_record", [1, 2])
def test_every_document_and_every_byte_is_accounted_for(per_record):
    chain, pages = curator(), documents(300)
    records = [pages[start : start + per_record] for start in range(0, len(pages), per_record)]
    outcomes = [chain.curate(record) for record in records]
    kept = [content for outcome in outcomes if not isinstance(outcome, Removed) for content in outcome]
    facts = chain.facts()
    tolls = facts["steps"].values()
    assert facts["documents"] == 300
    assert sum(toll["documents"] for toll in tolls) == 300 - len(kept)
    assert facts["bytes"] - sum(toll["bytes"] for toll in tolls) == sum(map(len, kept))
    assert all(toll["documents"] == sum(toll["reasons"].values()) for toll in tolls)
    assert {name for name, toll in facts["steps"].items() if toll["documents"]} >= {"language", "lines"}
    assert {name for name, toll in facts["steps"].items() if toll["changed"]} == {"repair", "lines", "mask"}


def test_the_documents_of_one_record_are_kept_together_or_not_at_all():
    outcome = curator().curate([GOOD.encode(), ENGLISH.encode(), GOOD.encode()])
    assert outcome == Removed("language", "other_language")


def test_tolls_of_groups_add_up_to_the_toll_of_all():
    pages, whole, parts = documents(100), curator(), [curator() for _ in range(3)]
    for index, page in enumerate(pages):
        whole.curate([page])
        parts[index % 3].curate([page])
    assert merge_tolls([part.facts()["steps"] for part in parts]) == whole.facts()["steps"]


def test_a_text_does_not_depend_on_what_came_before_it():
    pages = [page * 2 for page in documents(60)]
    chain = curator()
    assert [chain.curate([page]) for page in pages] == [curator().curate([page]) for page in pages]


def test_a_step_that_is_not_asked_for_is_not_there():
    chain = curator(repair=False, language=False, lines=False, quality=False, mask=[])
    assert chain.facts()["steps"] == {}
    assert chain.curate([MENU.encode()]) == [MENU.encode()]


@pytest.mark.parametrize(
    ("url", "blocked"),
    [
        ("https://spam.fi/a", True),
        ("http://www.spam.fi:80/?q=1", True),
        ("//osa.spam.fi", True),
        ("spam.fi/x", True),
        ("https://SPAM.FI./", True),
        ("https://eispam.fi/", False),
        ("https://spam.fi.ok.org/", False),
        ("https://ok.org/spam.fi", False),
        ("http://[broken", False),
        ("", False),
        (None, False),
    ],
)
def test_listed_domains_and_their_subdomains_go(tmp_path, url, blocked):
    (tmp_path / "domains.txt").write_text("# mine\nwww.spam.fi\nother.org  # and this\n\n")
    outcome = curator(tmp_path, block_domains=["domains.txt"]).curate([GOOD.encode()], url)
    assert (outcome == Removed("domains", "blocked_domain")) is blocked


@pytest.mark.parametrize(
    ("text", "blocked"),
    [
        ("Hän sanoi Rumasana ja lähti.", True),
        ("Tässä on hyvin  ruma lause.", False),
        ("Tässä on hyvin ruma lause!", True),
        ("Rumasanakirja on eri asia.", False),
    ],
)
def test_documents_with_a_listed_word_or_phrase_go(tmp_path, text, blocked):
    (tmp_path / "words.txt").write_text("rumasana\nHyvin ruma\n", encoding="utf-8")
    outcome = curator(tmp_path, block_words=["words.txt"]).curate([(GOOD + text).encode()])
    assert (outcome == Removed("words", "blocked_word")) is blocked


def test_a_model_file_of_the_user_is_used(tmp_path):
    (tmp_path / "mine.ftz").write_bytes(bundled_model().read_bytes())
    own = curator(tmp_path, language={"model": "mine.ftz", "keep": ["en"]}, quality=False)
    assert own.curate([ENGLISH.encode()]) == [ENGLISH.encode()]
    assert own.curate([GOOD.encode()]) == Removed("language", "other_language")


def test_codes_of_two_and_three_letters_and_labels_of_other_models_are_one_language():
    class Glot:
        def predict(self, text, k):
            return ["__label__fin_Latn", "__label__est_Latn"], [0.9, 0.1]

    assert Identifier(["fi"]).probability(GOOD) > 0.9
    for code in ("fi", "fin", "fin_Latn"):
        identifier = Identifier([code])
        identifier._model = Glot()
        assert identifier.probability(GOOD) == pytest.approx(0.9)


def test_one_of_two_languages_is_enough():
    english = b"The town lies on the bank of a river, and it has a church that is as old as the town itself."
    both = curator(of="fi-en")
    assert both.curate([GOOD.encode()]) == [GOOD.encode()]
    assert both.curate([english]) == [english]
    assert isinstance(curator().curate([english]), Removed)


def test_what_decides_the_result_is_in_the_plan(tmp_path):
    (tmp_path / "words.txt").write_text("a\n")
    plan = Plan(Curation(block_words=["words.txt"]), "fi", tmp_path)
    before = plan.identity
    (tmp_path / "words.txt").write_text("b\n")
    assert plan.identity != before
    assert Plan(Curation(), "fi", tmp_path).identity != Plan(Curation(), "en", tmp_path).identity
