"""Writers, one a target: a program becomes the file that the board's runtime loads.

Workbench.
"""
