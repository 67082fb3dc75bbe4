"""English names of languages, for prose and headings."""

_NAMES = {
    "ar": "Arabic", "be": "Belarusian", "bg": "Bulgarian", "bn": "Bengali", "br": "Breton", "bs": "Bosnian",
    "ca": "Catalan", "cs": "Czech", "cy": "Welsh", "da": "Danish", "de": "German", "el": "Greek",
    "en": "English", "eo": "Esperanto", "es": "Spanish", "et": "Estonian", "eu": "Basque", "fa": "Persian",
    "fi": "Finnish", "fo": "Faroese", "fr": "French", "fy": "Frisian", "ga": "Irish", "gd": "Scottish Gaelic",
    "gl": "Galician", "ha": "Hausa", "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian",
    "hy": "Armenian", "id": "Indonesian", "ig": "Igbo", "is": "Icelandic", "it": "Italian", "ja": "Japanese",
    "ka": "Georgian", "kk": "Kazakh", "kl": "Greenlandic", "km": "Khmer", "ko": "Korean", "ku": "Kurdish",
    "lb": "Luxembourgish", "lo": "Lao", "lt": "Lithuanian", "lv": "Latvian", "mi": "Maori",
    "mk": "Macedonian", "mn": "Mongolian", "ms": "Malay", "mt": "Maltese", "my": "Burmese",
    "nb": "Norwegian Bokmål",
    "ne": "Nepali", "nl": "Dutch", "nn": "Norwegian Nynorsk", "no": "Norwegian", "oc": "Occitan",
    "pl": "Polish", "ps": "Pashto", "pt": "Portuguese", "qu": "Quechua", "rm": "Romansh", "ro": "Romanian",
    "ru": "Russian", "sa": "Sanskrit", "se": "Northern Sámi", "sk": "Slovak", "sl": "Slovenian",
    "sme": "Northern Sámi", "sma": "Southern Sámi", "smj": "Lule Sámi", "smn": "Inari Sámi",
    "sms": "Skolt Sámi", "so": "Somali", "sq": "Albanian", "sr": "Serbian", "sv": "Swedish",
    "sw": "Swahili", "ta": "Tamil", "te": "Telugu", "tg": "Tajik", "th": "Thai", "tl": "Tagalog",
    "tr": "Turkish", "tt": "Tatar", "uk": "Ukrainian", "ur": "Urdu", "uz": "Uzbek", "vi": "Vietnamese",
    "wo": "Wolof", "xh": "Xhosa", "yi": "Yiddish", "yo": "Yoruba", "zh": "Chinese", "zu": "Zulu",
}  # fmt: skip
_SUBJECTS = {"math": "mathematics"}


def language_names(code: str) -> list[str]:
    """Return the English names in a source's language: ``fi-en`` -> Finnish, English.

    What is no known code, such as ``code``, names itself.
    """
    parts = code.split("-")
    if all(part in _NAMES for part in parts):
        return [_NAMES[part] for part in parts]
    return [_SUBJECTS.get(code, code)]


def language_name(code: str) -> str:
    """Return one name for a source's language: ``fi-en`` -> Finnish and English."""
    return " and ".join(language_names(code))


def language_codes(code: str) -> list[str]:
    """Return the ISO 639 codes in a source's language, none for ``code`` or ``math``."""
    return [part for part in code.split("-") if len(part) in (2, 3) and part.islower()]
