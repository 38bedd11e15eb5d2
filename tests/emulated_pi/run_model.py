"""Run on both sides: a TFLite model over stored pixels. `run_model.py MODEL PIXELS.npy OUTPUT.npy`

PIXELS is `(N, H, W, 3) uint8`; OUTPUT becomes `(N, classes)` of the model's own integer type.
"""

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter

model, pixels, output = sys.argv[1:]
interpreter = Interpreter(model_path=model, num_threads=1)
interpreter.allocate_tensors()
entry, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
scores = []
for image in np.load(pixels):
    interpreter.set_tensor(entry["index"], image[np.newaxis])
    interpreter.invoke()
    scores.append(interpreter.get_tensor(result["index"])[0])
np.save(output, np.stack(scores))
