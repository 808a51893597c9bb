"""Which lensbench this is, installed or not."""

__version__ = "0.1.0"
