"""From a checkpoint to a bundle.

Workbench. `convert` runs the steps, each from one record to the next: `request` opens and checks
what was named, `quantize_network` calibrates, quantizes and writes, `verification` compares with
the float original, `outcome` writes the bundle. `stages` runs the network as it was in between.
"""
