"""Errors a user can act on.

Each message is one line: what was wrong, the value seen, what was expected, and what to do next.
The command line prints it and exits 1; a traceback is for our own bugs. Every class also inherits
the builtin that fits, so callers may catch either.
"""


class EdgekitError(Exception):
    """Base of every error that edgekit raises on purpose."""


class CheckpointError(EdgekitError, ValueError):
    """A checkpoint that cannot be opened safely, recognised, or loaded."""


class CalibrationError(EdgekitError, ValueError):
    """Calibration images that are missing, unreadable, too few, or clearly wrong."""


class RecipeError(EdgekitError, ValueError):
    """A quantization recipe with a wrong key or value."""


class ConversionError(EdgekitError, RuntimeError):
    """A network that cannot be turned into the target's artifact."""


class BundleError(EdgekitError, ValueError):
    """A bundle that is damaged, incomplete, or does not fit this runtime."""


class ModelFileError(EdgekitError, ValueError):
    """A .tflite or .onnx file that cannot be loaded or is not a classifier."""


class EngineError(EdgekitError, RuntimeError):
    """An engine that cannot be built or run on this machine."""


class ImageError(EdgekitError, ValueError):
    """An image, or a set of labelled images, that cannot be read."""


class SourceError(EdgekitError, OSError):
    """A camera, video, or stream that cannot be opened or stopped delivering."""


class OutputError(EdgekitError, OSError):
    """A file or folder that cannot be written."""


class SettingsError(EdgekitError, ValueError):
    """A wrong value on the command line or in edgekit.toml."""


class MissingPackageError(EdgekitError, ImportError):
    """A package that this command needs is not installed."""


class ReportError(EdgekitError, ValueError):
    """A measurement record that is missing, damaged, of another version, or not comparable."""


class BoardError(EdgekitError, RuntimeError):
    """A board that cannot be reached over ssh, or cannot do what is asked of it."""
