"""Reading sources: one file a format."""
