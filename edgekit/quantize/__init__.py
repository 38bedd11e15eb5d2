"""Quantizes a float program to int8. It belongs to the workbench half.

`pipeline` runs the steps in this order:

- `calibration_images` finds the images; `image_checks` and `normalization_check` check them;
- `equalization` and `bias_absorption` rescale the float program;
- `activation_statistics` gathers the values of its tensors, or `statistics_table` reads them;
- `ranges` chooses the range and encoding of each tensor, and `recipe` the methods;
- `litert_plan` or `tensorrt_plan` choose the operators that become int8, for one of `backends`;
- `activation_shift` shifts tensors that symmetric codes would cover badly;
- `pt2e` inserts the quantize and dequantize nodes;
- `weight_rounding` chooses the codes of weights, and `bias_correction` corrects the biases.

`sensitivity` ranks layers by the noise that their rounding adds.
"""

from edgekit.quantize import third_party_warnings  # noqa: F401  (before torchao is imported below)
