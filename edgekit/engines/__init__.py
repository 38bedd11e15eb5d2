"""Inference runtimes with one interface: LiteRT, ONNX Runtime and TensorRT.

Device half. `open_engine` picks the runtime for a model; `base.Engine` is what they all look like.
"""
