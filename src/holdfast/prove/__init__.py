"""Every promise of a spec as an experiment on the live cache, with a verdict and the evidence for it."""
