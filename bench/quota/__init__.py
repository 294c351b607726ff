"""A fleet's quota, measured: many processes, a real Redis, and the simulator as the judge. `make bench-quota`."""
