"""What tests everything else: unit tests, the hosts of the scenarios, a virtual machine."""
