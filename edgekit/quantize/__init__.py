"""From a float program to an int8 program.

Workbench. `pipeline` calls the other modules, in this order:

1. `calibration_images` finds and reads the images, `image_checks` checks them.
2. `equalization` and `bias_absorption` rescale the float program's channels.
3. `litert_plan` or `tensorrt_plan` decides which tensors become int8.
4. `activation_statistics` gathers what values they take; `statistics_table` stores that in a file.
5. `ranges` chooses each tensor's range and encoding.
6. `activation_shift` shifts tensors that a symmetric scheme would encode badly.
7. `pt2e` inserts the quantize and dequantize operators.
8. `weight_rounding` and `bias_correction` reduce the error that is left.

`sensitivity` ranks layers by the error that each adds. `recipe` names the methods, `backends` what
the boards' runtimes need.
"""

from edgekit.quantize import third_party_warnings  # noqa: F401  (before torchao is imported below)
