"""Where frames come from: cameras, network streams, videos, images, and a test pattern.

Device half. `open_source` finds the source that a text names; `base.Source` is the protocol of all.
"""
