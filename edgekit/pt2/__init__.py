"""Reads files of `torch.export.save` as data.

Workbench. `archive` opens a `.pt2` without running anything in it; `operators` lists what its graph
may call. `checkpoint.exported` makes a network of both.
"""
