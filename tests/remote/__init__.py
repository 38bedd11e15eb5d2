"""Benchmarks on other boards: a real sshd on loopback, and boards behind it."""
