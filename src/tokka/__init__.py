"""tokka raises a language model for your language: one recipe in; a released, documented model out."""

__version__ = "0.1.0"
