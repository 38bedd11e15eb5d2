"""Writers, one a target: a quantized (or float) program → what the board's runtime loads."""
