"""One virtual machine with SELinux enforcing and a firewall, for what containers cannot show."""
