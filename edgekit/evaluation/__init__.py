"""Accuracy of a model on images, and the SQNR of its layers against the float original.

Device half.
"""
