"""Makes what is published: the same bytes from the same commit, on any machine."""
