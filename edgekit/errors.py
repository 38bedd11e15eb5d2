"""The errors that edgekit raises on purpose.

Each message is one line: what was wrong, the value seen, what was expected, and what to do next.
The command line prints it and exits with status 1; a traceback means a bug in edgekit. Every class
also inherits the builtin exception that fits, so callers may catch either.
"""

BUG_REPORT = "this is a bug in edgekit, please report it"
"""How the message of a fault ends that no input should be able to cause."""


class EdgekitError(Exception):
    """Base of every error that edgekit raises on purpose."""


class CheckpointError(EdgekitError, ValueError):
    """A checkpoint cannot be opened safely, recognised, or loaded."""


class CalibrationError(EdgekitError, ValueError):
    """Calibration images are missing, unreadable, too few, or clearly wrong."""


class RecipeError(EdgekitError, ValueError):
    """A quantization recipe has a wrong key or value."""


class ConversionError(EdgekitError, RuntimeError):
    """A network cannot be converted to the target's format."""


class BundleError(EdgekitError, ValueError):
    """A bundle is damaged or incomplete, or does not fit this runtime."""


class ModelFileError(EdgekitError, ValueError):
    """A .tflite or .onnx file cannot be loaded or is not a classifier."""


class EngineError(EdgekitError, RuntimeError):
    """An engine cannot be built or run on this machine."""


class ImageError(EdgekitError, ValueError):
    """An image, or a set of labelled images, cannot be read."""


class SourceError(EdgekitError, OSError):
    """A camera, video, or stream cannot be opened, or has stopped delivering frames."""


class OutputError(EdgekitError, OSError):
    """A file or folder cannot be written."""


class SettingsError(EdgekitError, ValueError):
    """A value on the command line or in edgekit.toml is wrong."""


class MissingPackageError(EdgekitError, ImportError):
    """A package that this command needs is not installed."""


class ReportError(EdgekitError, ValueError):
    """A measurement record is missing, damaged, of another version, or not comparable."""


class BoardError(EdgekitError, RuntimeError):
    """A board cannot be reached over ssh, or cannot do what is asked of it."""
