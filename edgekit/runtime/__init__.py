"""The stream loop: classifies each frame of a file, or the newest frame of a live source.

Device half. `stream.Stream` is the loop; `classifier.Classifier` classifies one image.
"""
