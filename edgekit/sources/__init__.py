"""Where frames come from: cameras, network streams, videos, images, and a test pattern.

Device half. `open_source` reads what the user wrote; `base.Source` is what they all look like.
"""
