"""What the board is and its present state: model, sensors, power mode, throttling, memory.

Device half. Reads files of the system and vendor tools; knows nothing of models.
"""
