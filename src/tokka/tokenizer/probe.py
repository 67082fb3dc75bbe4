"""Texts on which two encoders must agree before one stands in for the other."""

from collections.abc import Collection

_PROBE = (
    "",
    " ",
    "   \t\t \n\n \r\n\r  x  \v\f y \u00a0\u2003\u3000 z\u2028\u2029\u0085 ",
    'Yön äänet: "Järvellä soutaa", sanoi Väinö – 3,14 % (n. 1 250 €).  Hyvää\u00a0yötä…\n',
    "Tuntemattomuudettomuudellaankohan epäjärjestelmällistyttämättömyys? Lentokonesuihkuturbiinimoottori!",
    "It's we'll I'D you'Re THEY'VE o'clock 'tis rock'n'roll don''t ''s 's'T",
    "The quick-brown fox_jumps over; 1234567890 12,345.678e-9 0xFF v2.0.1 №5 ½ ² Ⅷ ٣٤٥ १२३ 四十二",
    'def f(x):\n\treturn {\'a\': [x ** 2, -x // 3], "b": not x}  # ok?\n\n\n    if __name__ == "main":\r\n',
    "<p><!-- &amp; --><a href='https://example.org/?q=1&r=%20#x'>link</a></p> C:\\temp\\n @user #tag $9.99",
    "Ђорђе Українська Ελληνικά Հայերեն ქართული עברית العربية فارسی؟ ۔ ، हिन्दी। বাংলা ไทย ລາວ မြန်မာ ខ្មែរ አማርኛ",
    "漢字とかな交じり文。「引用」、中文，标点！한국어 ไม่มีช่องว่าง",
    "e\u0301 a\u0308 å Å ﬁ ſ İ ı ß ẞ n\u0303\u0323 \u200d\u200c\u200b\u2060\ufeff\u00ad",
    "👩‍👩‍👧‍👦 🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f 🇫🇮🇸🇪 👍🏽 ❤️ ☃ 🩷 🫨",
    "\x00\x01\x02\x1b[31m\x7f\x80\x9f\x1c\x1d\x1e\x1f\ufffd\ufffe\uffff\ue000\U000f0000\U0010ffff",
    "\u0378\u0560\u088f\u1c89\ua7cb\ua7ce\U00010d40\U00010940\U00011de0\U00016ea0\U0001e6c0\U000323b0a1 b",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa ========================----- ...",
    "(a, b), [c]; d.  (  e  ) |f| g!h?i  j...k \n(l\n) m.\n\nn ,o  ,  p . ! ? (\t.",
    "Ġ Ċ ▁ <0x0A> ĠĊč ÃĤ",
)


def probe_texts(names: Collection[str]) -> list[str]:
    """Return texts of many scripts, with every kind of space, digit, control and unassigned character.

    ``names`` are strings that deserve a place of their own, such as the special tokens.
    """
    around = [
        f"{name}|a{name}b {name} c.{name}\n{name}{name} {name[:-1]} {name[1:]}" for name in sorted(names)
    ]
    return [*_PROBE, "\n".join(_PROBE), *around]
