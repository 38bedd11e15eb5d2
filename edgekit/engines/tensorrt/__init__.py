"""TensorRT: from a bundle's ONNX file to an engine on this GPU.

`library` what is installed · `cuda` memory and streams · `supported_gpus` which GPUs · `build`
ONNX → plan · `build_log` what the builder reports · `engine_cache` plans on disk · `engine` a plan
that runs · `precision_choice` int8 or fp16 · `engine_provider` all of it in order.
"""
