"""File formats: the bytes of one file -> one image."""
