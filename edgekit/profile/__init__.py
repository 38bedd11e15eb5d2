"""`edgekit benchmark`: latency, memory and accuracy measured on this machine, as one record.

Device half. A worker process runs the model; this process watches the board and judges the result.
"""
