"""The stream loop: frames are classified one after another, or the newest of a live source.

Device half. `stream.Stream` runs it; `classifier.Classifier` is one image's way.
"""
