"""All that `edgekit run` does, from Python: a `RunOptions` in, classified frames out.

Device half. `run_stream` puts a source, a model, the stream loop and the outputs together.
"""
