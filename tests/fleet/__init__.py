"""A fleet of real systemd hosts, made of podman containers from an Ansible inventory."""
