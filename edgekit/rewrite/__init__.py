"""Rewrites an exported network into a graph that boards run fast, with the same outputs.

It belongs to the workbench half. `export` traces a network, `pipeline` lists the passes and runs
them, `passes` holds one file a pass. `input_pixels` and `channels_last_padding` change the input
and the paddings for a target; the conversion calls them after the passes.
"""
