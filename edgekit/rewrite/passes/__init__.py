"""The rewriting passes: one file for each pass of `edgekit.rewrite.pipeline`, with its name."""
