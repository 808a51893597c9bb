"""Where the bytes of a data set come from; nothing is ever unpacked to disk."""
