"""An exported network becomes the graph that a board runs best, with the same outputs.

Workbench. `export` traces, `pipeline` runs the passes in order and checks each one.
"""
