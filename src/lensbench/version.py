"""Which lensbench this is, installed or not."""

VERSION = "0.1.0"
