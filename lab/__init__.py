"""Real nodes on one machine: N Debian systems, each with its own systemd, sshd, network namespace and address."""
