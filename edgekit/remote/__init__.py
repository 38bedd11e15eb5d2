"""Benchmarks on other boards, over the system's OpenSSH."""
