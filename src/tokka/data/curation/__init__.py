"""Curation: what is done to documents before they count as the text of a source."""
