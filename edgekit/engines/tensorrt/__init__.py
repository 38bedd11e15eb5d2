"""TensorRT: from a bundle's ONNX file to an engine on this GPU.

`library` what is installed · `cuda` memory and streams · `boards` which GPUs · `build` ONNX →
plan · `cache` plans on disk · `engine` a plan that runs · `choice` int8 or fp16 · `opening` all of
it in order.
"""
