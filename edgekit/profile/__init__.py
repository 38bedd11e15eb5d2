"""Measuring on the board: the stage clock, the board's sensors, and the measurement record."""
