"""From a checkpoint to a bundle: the order of the steps, and what is measured on the way.

Workbench. `convert` runs the whole conversion; `pi` and `jetson` write the artifacts.
"""
