"""Where results go beside standard output. None of the outputs slows the loop."""
