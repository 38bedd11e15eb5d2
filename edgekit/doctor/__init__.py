"""Finds what a machine has and lacks for edgekit: facts are gathered, and rules judge them.

Nothing here imports numpy, OpenCV or an inference runtime: `probes` does, in processes of their
own, so that a broken package costs one answer and not the program.
"""
