"""Commands of this repository: the fleet of test hosts, the demo, the checks."""
