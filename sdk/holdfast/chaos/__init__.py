"""Seeded faults for steps and for the network: plans, how workers carry them out, and the proxy."""
