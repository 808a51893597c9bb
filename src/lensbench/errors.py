"""What can go wrong, each with the way out in its message."""


class LensbenchError(Exception):
    """Base of every error that a user can mend; the message says how."""


class ConfigError(LensbenchError):
    """A setting contradicts another one or cannot be met."""


class DatasetError(LensbenchError):
    """The images on disk cannot be used as they are."""


class ModelError(LensbenchError):
    """A classifier of that name does not exist or cannot be built."""


class WeightsError(LensbenchError):
    """Pretrained weights were asked for and cannot be had."""


class TrainingError(LensbenchError):
    """Training cannot go on."""


class RecordError(LensbenchError):
    """A result record or predictions file cannot be read."""


class ComparisonError(LensbenchError):
    """Runs that must not be compared with each other."""
