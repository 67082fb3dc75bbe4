from tokenizers import pre_tokenizers

from tokka.tokenizer.patterns import byte_alphabet, pre_tokenizer


def cut(pattern, text):
    """Return the words as text, decoded from the byte-level spelling."""
    bytes_of = {character: byte for byte, character in enumerate(byte_alphabet())}
    return [
        bytes(bytes_of[character] for character in word).decode()
        for word, _ in pre_tokenizer(pattern).pre_tokenize_str(text)
    ]


def test_the_alphabet_has_the_characters_of_tokenizers_for_the_same_bytes():
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    assert set(byte_alphabet()) == set(pre_tokenizers.ByteLevel.alphabet())
    for character in map(chr, [*range(0x100), 0x20AC, 0xFFFF, 0x10FFFF]):
        spelled = byte_level.pre_tokenize_str(character)[0][0]
        assert spelled == "".join(byte_alphabet()[byte] for byte in character.encode())


def test_blooms_pattern_keeps_the_space_before_a_word_and_cuts_at_punctuation():
    assert cut("bloom", "Yö, (kaksi)  12a-b 😀…") == ["Yö", ", (", "kaksi", ") ", " 12a-b", " 😀", "…"]


def test_llama_3s_pattern_cuts_contractions_three_digits_and_line_breaks():
    text = "It'S 12345 tai\n\n  ei!\n"
    assert cut("llama3", text) == ["It", "'S", " ", "123", "45", " tai", "\n\n", " ", " ei", "!\n"]
