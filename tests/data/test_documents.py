from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokka.data.documents import Reason, UnfitError, checked, is_heldout

KEPT = 10 * 2**20


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", Reason.EMPTY),
        (" \n\t\u00a0\u2003", Reason.EMPTY),
        ("a\ud800b", Reason.LONE_SURROGATE),
        ("ä" * 51, Reason.MONSTROUS),
        ("h\0e\0i\0 \0", Reason.CONTROL_CHARACTERS),
        ("\0" * 10, Reason.CONTROL_CHARACTERS),
    ],
)
def test_a_text_that_cannot_be_trained_on_is_refused_with_the_reason(text, reason):
    with pytest.raises(UnfitError) as caught:
        checked(text, max_bytes=100)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "text",
    ["hei", "ä" * 50, "one stray \0 NUL in a line of text", "\tcode\r\n\f", "\ufeffmark", "𝄞", "\ufffd"],
)
def test_a_text_is_kept_as_it_is(text):
    assert checked(text, max_bytes=100) == text.encode()


@given(st.binary(min_size=1, max_size=64), st.floats(0, 1, exclude_max=True))
def test_the_side_of_a_document_is_its_blake2b_number_against_the_share(content, share):
    number = int(blake2b(content, digest_size=8).hexdigest(), 16)
    assert is_heldout(content, share) == (number / 2**64 < share)


def test_the_share_held_out_is_about_the_share_asked_for_and_grows_with_it():
    texts = [f"document {i}".encode() for i in range(20_000)]
    sides = {share: {t for t in texts if is_heldout(t, share)} for share in (0.0, 0.01, 0.1)}
    assert not sides[0.0]
    assert sides[0.01] < sides[0.1]
    assert abs(len(sides[0.01]) - 200) < 60  # four standard deviations
    assert abs(len(sides[0.1]) - 2000) < 170
