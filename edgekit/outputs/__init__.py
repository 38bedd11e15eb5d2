"""Where results go: the terminal, files, MQTT, web hooks, Prometheus, a window, a web page.

Device half. A sink takes each result in the loop's thread; an output has a thread of its own, so
that none slows the loop.
"""
