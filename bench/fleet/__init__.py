"""The collection on real nodes: tried (`make fleet-test`), shown (`make fleet-demo`), measured (`make fleet-bench`)."""
