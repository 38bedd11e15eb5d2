"""What the board is and how it is doing: model, sensors, power mode, throttling, memory.

Device half. Reads files of the system and vendor tools; knows nothing of models.
"""
