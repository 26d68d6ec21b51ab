"""Layer 4: the only place that joins store, scheduler and delivery."""
