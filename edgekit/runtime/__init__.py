"""The device half at work: engines, preprocessing, sources, and the stream loop."""
